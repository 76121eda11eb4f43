package schemas

// FileKind is what a stored file is.
type FileKind string

// The kinds of files. But for the first they are types of items of an envelope.
const (
	FileAttachment      FileKind = "attachment"
	FileProfile         FileKind = "profile"
	FileProfileChunk    FileKind = "profile_chunk"
	FileReplayEvent     FileKind = "replay_event"
	FileReplayRecording FileKind = "replay_recording"
	FileReplayVideo     FileKind = "replay_video"
)

// ItemKinds are those that are listed as items: all but attachments, which belong
// to an event.
func ItemKinds() []FileKind {
	return []FileKind{FileProfile, FileProfileChunk, FileReplayEvent, FileReplayRecording, FileReplayVideo}
}

// File is what is known of bytes that are kept as they came: an attachment, a
// profile, a part of a replay. The bytes lie in the blob store, in Chunks parts
// under the keys of [FileChunkKey].
type File struct {
	Project     uint64
	Kind        FileKind
	Event       EventID // or the profile's or replay's id; zero when it told none
	ID          string  // names the file among those of Event; see [ValidFileID]
	Name        string  // as the client gave it: never a path to write to
	ContentType string  // as the client gave it: never one to serve it as
	Type        string  // what an attachment is for: "event.minidump"
	Size        int64   // bytes
	Chunks      int64
	Time        int64   // Unix ns, when the collector had it
	Trace       TraceID // of a profile or a replay; zero when it told none

	Source   Source // where its record lies
	Position Position
}

// FileChunkKey is where one part of a file lies in the blob store.
func FileChunkKey(project uint64, event EventID, id string, index int64) string {
	e := event.String()
	return FilesFolder + "/" + decimal(project) + "/" + e[:2] + "/" + e + "." + id + "." + decimal(uint64(max(index, 0))) //nolint:gosec // not negative
}

// FilesFolder is the folder of files in the blob store.
const FilesFolder = "attachments"

// maxFileID bounds the bytes of a file's id.
const maxFileID = 64

// ValidFileID tells that id can name a file: 1 to 64 of a-z, 0-9 and hyphens.
func ValidFileID(id string) bool {
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= maxFileID
}
