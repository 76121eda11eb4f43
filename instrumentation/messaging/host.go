package messaging

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
)

// BootIDFile holds the id that Linux draws at each boot. Other systems have none.
const BootIDFile = "/proc/sys/kernel/random/boot_id"

// BootID is what [AttrBootID] holds: the hash of the kernel's boot id in a file,
// [BootIDFile] but for tests. It is enough to tell that two processes share a clock,
// and not an identifier that other software uses. It is empty when there is none.
func BootID(file string) string {
	raw, err := os.ReadFile(file)
	id := strings.TrimSpace(string(raw))
	if err != nil || id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("hoptrace boot id " + id))
	return hex.EncodeToString(sum[:8])
}
