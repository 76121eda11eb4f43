package sentryapi

import (
	"archive/zip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hoptrace/hoptrace/exporters"
)

// Bounds of a bundle.
const (
	maxFiles     = 20_000
	maxDirectory = 8 << 20 // of the archive's directory: what it takes in memory is 10 times that
	maxManifest  = 16 << 20
	maxPath      = 1024
	maxURL       = 2048
	// maxUnpacked is how much more all files may have than the archive, beyond
	// freeUnpacked: text packs to a tenth, bombs to a thousandth.
	maxUnpacked  = 100
	freeUnpacked = 64 << 20
)

// bundleError is why an upload can never be used.
type bundleError struct{ error }

func (e bundleError) Unwrap() error { return e.error }

func fault(format string, args ...any) error { return bundleError{fmt.Errorf(format, args...)} }

// bundle is an archive with a manifest that says what its files are.
type bundle struct {
	note, dist string
	files      []bundleFile
}

type bundleFile struct {
	exporters.ArtifactFile
	packed *zip.File
}

// readBundle reads the directory and the manifest of an archive; of its files
// only what the manifest lists. It fails with a bundleError.
func readBundle(r io.ReaderAt, size, maxFile int64) (*bundle, error) {
	if err := checkDirectory(r, size); err != nil {
		return nil, err
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // nothing is written under these names
		if errors.As(err, new(bundleError)) || !isZipFault(err) {
			return nil, err
		}
		return nil, fault("the upload is no zip archive that can be read: %w", err)
	}
	if len(z.File) > maxFiles+1 {
		return nil, fault("the archive has %d files, at most %d", len(z.File), maxFiles)
	}
	byName := make(map[string]*zip.File, len(z.File))
	for _, f := range z.File {
		byName[f.Name] = f
	}
	m := byName["manifest.json"]
	if m == nil {
		return nil, fault("the archive has no manifest.json: was it made by sentry-cli?")
	}
	if m.UncompressedSize64 > maxManifest {
		return nil, fault("manifest.json has %d bytes, at most %d", m.UncompressedSize64, maxManifest)
	}
	rc, err := m.Open()
	if err != nil {
		return nil, fault("manifest.json cannot be read: %w", err)
	}
	b, err := readManifest(io.LimitReader(rc, maxManifest))
	if closed := rc.Close(); err == nil {
		err = closed
	}
	if err != nil {
		if errors.As(err, new(bundleError)) || isZipFault(err) || !isStoreError(err) {
			return nil, fault("manifest.json cannot be read: %w", err)
		}
		return nil, err
	}
	total, packed := uint64(0), uint64(size) //nolint:gosec // a size
	for i := range b.files {
		f := &b.files[i]
		if f.packed = byName[f.Path]; f.packed == nil {
			return nil, fault("manifest.json lists %.200q, which is not in the archive", f.Path)
		}
		if f.packed.UncompressedSize64 > uint64(maxFile) { //nolint:gosec // a size
			return nil, fault("%.200s has %d bytes, at most %d", f.Path, f.packed.UncompressedSize64, maxFile)
		}
		total += f.packed.UncompressedSize64
	}
	if total > freeUnpacked && total > packed*maxUnpacked {
		return nil, fault("the archive's files have %d bytes, more than %d times the archive", total, maxUnpacked)
	}
	return b, nil
}

// isStoreError tells errors that time may heal from faults of the bytes.
func isStoreError(err error) bool {
	return errors.Is(err, exporters.ErrUnavailable) || errors.Is(err, errChunkGone) || isCancelled(err)
}

func isZipFault(err error) bool {
	return errors.Is(err, zip.ErrFormat) || errors.Is(err, zip.ErrAlgorithm) || errors.Is(err, zip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// checkDirectory bounds the directory before the zip reader takes memory for it:
// that one reads records until there are none, whatever their number is said to be.
func checkDirectory(r io.ReaderAt, size int64) error {
	const endLen, maxComment = 22, 1<<16 - 1
	tail := make([]byte, min(size, endLen+maxComment))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for i := len(tail) - endLen; i >= 0; i-- {
		if string(tail[i:i+4]) != "PK\x05\x06" {
			continue
		}
		if comment := int(binary.LittleEndian.Uint16(tail[i+20:])); i+endLen+comment > len(tail) {
			continue
		}
		offset := binary.LittleEndian.Uint32(tail[i+16:])
		if i >= 20 && string(tail[i-20:i-16]) == "PK\x06\x07" {
			return fault("the archive is a zip64, which is for more than 65535 files or 4 GiB")
		}
		if int64(offset) > size || size-int64(offset) > maxDirectory+maxComment {
			return fault("the archive's directory has more than %d bytes", maxDirectory)
		}
		return nil
	}
	return fault("the upload is no zip archive: it has no directory")
}

// readManifest reads file by file, so that many empty ones take no memory.
func readManifest(r io.Reader) (*bundle, error) {
	d := json.NewDecoder(r)
	b := new(bundle)
	if err := expect(d, '{'); err != nil {
		return nil, err
	}
	for d.More() {
		key, err := text(d)
		if err != nil {
			return nil, err
		}
		switch key {
		case "files":
			if err := b.readFiles(d); err != nil {
				return nil, err
			}
		case "note", "dist":
			var v *string
			if err := d.Decode(&v); err != nil {
				return nil, err
			}
			if v == nil {
				continue
			}
			if key == "note" {
				b.note = *v
			} else if b.dist = *v; len(b.dist) > maxDist || b.dist == exporters.DistOfBundle {
				return nil, fault("dist %.70q: want at most %d bytes, and not %q", b.dist, maxDist, exporters.DistOfBundle)
			}
		default:
			if err := skip(d); err != nil {
				return nil, err
			}
		}
	}
	return b, expect(d, '}')
}

func (b *bundle) readFiles(d *json.Decoder) error {
	if err := expect(d, '{'); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for d.More() {
		path, err := text(d)
		if err != nil {
			return err
		}
		if len(seen) == maxFiles {
			return fault("more than %d files", maxFiles)
		}
		if path == "" || len(path) > maxPath {
			return fault("file %.50q: want a path of 1 to %d bytes", path, maxPath)
		}
		if seen[path] {
			return fault("file %.200q is listed twice", path)
		}
		seen[path] = true
		var v struct {
			Type    string            `json:"type"`
			URL     string            `json:"url"`
			Headers map[string]string `json:"headers"`
		}
		if err := d.Decode(&v); err != nil {
			return err
		}
		if len(v.URL) > maxURL || len(v.Type) > 64 {
			return fault("file %.200q: a URL of at most %d bytes and a type of at most 64", path, maxURL)
		}
		f := bundleFile{ArtifactFile: exporters.ArtifactFile{Path: strings.Clone(path), URL: v.URL, Kind: v.Type}}
		for k, value := range v.Headers {
			keepHeader(&f.ArtifactFile, k, value)
		}
		b.files = append(b.files, f)
	}
	return expect(d, '}')
}

func expect(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fault("%v where %v should be", t, want)
	}
	return nil
}

func text(d *json.Decoder) (string, error) {
	t, err := d.Token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", fault("%v where a text should be", t)
	}
	return s, nil
}

// skip passes over one value.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if del, ok := t.(json.Delim); ok {
			if del == '{' || del == '[' {
				depth++
			} else {
				depth--
			}
		}
		if depth == 0 {
			return nil
		}
	}
}
