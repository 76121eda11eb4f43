package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes a certificate of 127.0.0.1 and its key over those in dir.
func certificate(t *testing.T, dir, name string, changed time.Time) TLSConfig {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &of, &of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := TLSConfig{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for file, block := range map[string]*pem.Block{c.Cert: {Type: "CERTIFICATE", Bytes: der}, c.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, changed, changed); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// served asks a server by https, and gives the name in the certificate that it shows.
func served(t *testing.T, s *Server, version uint16) (string, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version}} //nolint:gosec // the certificate is looked at below
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr().String()+"/api/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %d; want 200", answer.StatusCode)
	}
	return answer.TLS.PeerCertificates[0].Subject.CommonName, nil
}

func TestACertificateIsServedAndRenewedWithoutARestart(t *testing.T) {
	dir, begun := t.TempDir(), time.Now().Add(-time.Minute)
	files := certificate(t, dir, "first", begun)
	s, _ := testServer(t, built, true, func(c *Config) { c.TLS = files })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	f := func(what, want string) {
		t.Helper()
		if got, err := served(t, s, tls.VersionTLS13); err != nil || got != want {
			t.Errorf("%s: %q is served, %v; want %q", what, got, err, want)
		}
	}
	f("at the start", "first")
	if _, err := served(t, s, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is spoken; want 1.2 at least")
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := &http.Transport{}
	defer plain.CloseIdleConnections()
	if answer, err := plain.RoundTrip(r); err != nil {
		t.Error(err)
	} else if _ = answer.Body.Close(); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered with %d; want 400", answer.StatusCode)
	}
	certificate(t, dir, "second", begun.Add(20*time.Second))
	f("after it was renewed", "second")
	// While it is written the one before stays.
	if err := os.WriteFile(files.Cert, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("half written", "second")
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	f("without its key", "second")
	certificate(t, dir, "third", begun.Add(40*time.Second))
	f("written in whole", "third")
}

func TestACertificateThatCannotBeReadEndsTheStart(t *testing.T) {
	dir := t.TempDir()
	s, _ := testServer(t, built, true, func(c *Config) {
		c.TLS = TLSConfig{Cert: filepath.Join(dir, "no.pem"), Key: filepath.Join(dir, "no.key")}
	})
	err := s.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "web.tls") || !strings.Contains(err.Error(), "no.pem") {
		t.Errorf("Start = %v; want an error that names the setting and the file", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := (TLSConfig{Cert: "c"}).Validate(); err == nil || !strings.Contains(err.Error(), "web.tls") {
		t.Errorf("a certificate without its key: %v; want an error", err)
	}
}
