package embeddedclickhouse

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// ChildCommand is the argument with which the binary runs as the engine's
// process. It is not for people.
const ChildCommand = "internal-clickhouse"

// Files that the child inherits after standard input, output and error.
const (
	reportFD = 3 // the child's one line: a childReport
	lockFD   = 4 // held open only; see lockDir
)

const (
	drainTimeout = 5 * time.Second  // for statements that run at the end
	closeTimeout = 3 * time.Second  // for the engine to close
	idleTrim     = 10 * time.Second // of no statement, until memory is given back
)

// childConfig is the parent's first line on the child's standard input. The
// password comes this way because arguments and environment can be read by
// others.
type childConfig struct {
	Library, Dir, Socket   string
	User, Password         string
	MemoryLimit, MarkCache int64
	MaxConnections         int
}

// childReport is the child's line when it serves, or why it cannot.
type childReport struct {
	Version string `json:",omitempty"` // of ClickHouse
	Error   string `json:",omitempty"`
}

// IsChild reports whether the binary was started by a [Process] to be the
// engine. main must ask before anything else, and TestMain too:
//
//	if embeddedclickhouse.IsChild(os.Args) {
//		os.Exit(embeddedclickhouse.RunChild())
//	}
func IsChild(args []string) bool { return len(args) == 2 && args[1] == ChildCommand }

// RunChild is the engine's process, until standard input ends or SIGTERM
// comes. It gives the exit code.
func RunChild() int {
	// A broken pipe on one of the engine's threads would end the process.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGINT, syscall.SIGHUP)
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	report := os.NewFile(reportFD, "report")
	if err := runChild(log, report); err != nil {
		line, _ := json.Marshal(childReport{Error: err.Error()})
		if _, writeErr := report.Write(append(line, '\n')); writeErr != nil {
			log.Error("the embedded engine ends", "error", err)
		}
		return 1
	}
	return 0
}

func runChild(log *slog.Logger, report io.Writer) error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s is not a command for people; use `hoptrace all`: no configuration on standard input: %w", ChildCommand, err)
	}
	var cfg childConfig
	if err := json.Unmarshal(line, &cfg); err != nil {
		return fmt.Errorf("cannot read the configuration on standard input: %w", err)
	}
	// The Go side only carries blocks; its garbage need not linger.
	debug.SetGCPercent(50)

	e, err := loadEngine(cfg.Library)
	if err != nil {
		return err
	}
	args, err := engineArgs(cfg)
	if err != nil {
		return err
	}
	s, err := newServer(e, args, cfg.User, cfg.Password, cfg.MaxConnections, log)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(context.Background(), "unix", cfg.Socket)
	if err != nil {
		return fmt.Errorf("cannot listen on the private socket: %w", err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { // the parent says stop by closing the pipe, or by dying
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	go s.trim(ctx, idleTrim, debug.FreeOSMemory)
	go func() { ended <- s.serve(ln) }()

	answer, err := json.Marshal(childReport{Version: fmt.Sprintf("%d.%d.%d", s.hello.Major, s.hello.Minor, s.hello.Patch)})
	if err != nil {
		return err
	}
	if _, err := report.Write(append(answer, '\n')); err != nil {
		return fmt.Errorf("cannot report to the parent: %w", err)
	}

	select {
	case <-ctx.Done():
	case <-terminate:
	case err := <-ended:
		return err
	}
	drain, stop := context.WithTimeout(context.Background(), drainTimeout)
	defer stop()
	s.shutdown(drain)
	closed := make(chan struct{})
	go func() {
		s.control.close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
		// Nothing is lost: what was acknowledged is on disk.
		log.Warn("the embedded engine did not close in time; its process ends without it")
	}
	return nil
}

// engineArgs writes the engine's configuration file beside its data and gives
// the arguments of clickhouse-local.
func engineArgs(cfg childConfig) ([]string, error) {
	data := filepath.Join(cfg.Dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the engine's directory: %w", err)
	}
	text, err := engineConfig(cfg)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.Dir, "engine.xml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("cannot write the engine's configuration: %w", err)
	}
	return []string{"hoptrace", "--path=" + data, "--config-file=" + path}, nil
}

// element is a setting of the engine's configuration file.
type element struct {
	XMLName xml.Name
	Text    string    `xml:",chardata"`
	Sub     []element `xml:",any"`
}

func setting(name string, value int64) element {
	return element{XMLName: xml.Name{Local: name}, Text: strconv.FormatInt(value, 10)}
}

// engineConfig is the engine's configuration. What is not here is as in
// clickhouse-local.
//
// BenchmarkIdle on 2 cores: 50 MB of anonymous memory and 26 threads fresh,
// 200 MB and 34 threads under inserts of 10,000 rows and aggregates, and 66 MB
// when it is idle again (server.trim); 160 to 200 MB more are the library's
// own pages, which the system may drop. With the defaults a mixed load had 167
// threads, and nothing kept the caches from growing past the memory limit.
func engineConfig(cfg childConfig) ([]byte, error) {
	root := element{XMLName: xml.Name{Local: "clickhouse"}, Sub: []element{
		setting("max_server_memory_usage", cfg.MemoryLimit),
		setting("mark_cache_size", cfg.MarkCache),
		// The other caches may have gigabytes by default.
		setting("primary_index_cache_size", cfg.MarkCache),
		setting("index_mark_cache_size", cfg.MarkCache),
		setting("query_condition_cache_size", 16<<20),
		setting("compiled_expression_cache_size", 16<<20),
		setting("text_index_tokens_cache_size", 1<<20),
		setting("text_index_header_cache_size", 1<<20),
		setting("text_index_postings_cache_size", 1<<20),
		setting("vector_similarity_index_cache_size", 1<<20),
		setting("iceberg_metadata_files_cache_size", 1<<20),
		setting("parquet_metadata_cache_size", 1<<20),
		setting("mmap_cache_size", 64),
		// Each thread costs a stack and an arena; these pools have up to 250
		// threads by default, of which one machine's load uses few.
		setting("max_thread_pool_free_size", 8),
		setting("max_io_thread_pool_size", 16),
		setting("max_prefixes_deserialization_thread_pool_size", 8),
		setting("max_format_parsing_thread_pool_size", 8),
		setting("max_active_parts_loading_thread_pool_size", 8),
		setting("max_outdated_parts_loading_thread_pool_size", 4),
		setting("max_parts_cleaning_thread_pool_size", 4),
		setting("threadpool_local_fs_reader_pool_size", 8),
		setting("threadpool_remote_fs_reader_pool_size", 1),
		setting("prefetch_threadpool_pool_size", 8),
		setting("load_marks_threadpool_pool_size", 8),
		setting("threadpool_writer_pool_size", 8),
		setting("background_schedule_pool_initial_size", 2),
		{
			XMLName: xml.Name{Local: "merge_tree"},
			Sub: []element{
				// An insert is acknowledged when its part is on disk, name and
				// all. It cost nothing measurable at 20,000 rows a block.
				setting("fsync_after_insert", 1),
				setting("fsync_part_directory", 1),
			},
		},
	}}
	text, err := xml.MarshalIndent(root, "", "\t")
	if err != nil {
		return nil, errors.Join(errors.New("cannot write the engine's configuration"), err)
	}
	return append(text, '\n'), nil
}
