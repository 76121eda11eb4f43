package policy

import "bytes"

// Bounds of what filters look at.
const (
	maxMessages    = 32      // texts of one event
	maxMessageText = 4 << 10 // bytes of one
	maxAgent       = 1 << 10
)

// facts are what filters and sampling rules ask of an event or a transaction.
// Texts alias the payload where they can.
type facts struct {
	release, environment, transaction, level, platform []byte
	traceID, eventID                                   []byte
	url, agent                                         []byte
	userIP, remoteAddr                                 []byte
	messages                                           [][]byte
	extension                                          bool // a frame lies in a browser's extension

	close   int    // where the object ends, at its brace; -1 when it is broken
	metrics [2]int // where the value of _metrics is; zero when there is none
}

// read takes what is wanted from the JSON object in b, in one pass.
func (f *facts) read(b []byte, messages, frames bool) {
	end := object(b, skipSpace(b, 0), func(key []byte, at int) int {
		switch string(key) {
		case "release":
			f.release, _ = textAt(b, at)
		case "environment":
			f.environment, _ = textAt(b, at)
		case "transaction":
			f.transaction, _ = textAt(b, at)
		case "level":
			f.level, _ = textAt(b, at)
		case "platform":
			f.platform, _ = textAt(b, at)
		case "event_id":
			f.eventID, _ = textAt(b, at)
		case "trace_id":
			f.traceID, _ = textAt(b, at)
		case "contexts":
			return object(b, at, func(key []byte, at int) int {
				if string(key) == "trace" {
					return object(b, at, func(key []byte, at int) int {
						if string(key) == "trace_id" {
							f.traceID, _ = textAt(b, at)
						}
						return skipValue(b, at)
					})
				}
				return skipValue(b, at)
			})
		case "request":
			return f.request(b, at)
		case "user":
			return object(b, at, func(key []byte, at int) int {
				if string(key) == "ip_address" {
					f.userIP, _ = textAt(b, at)
				}
				return skipValue(b, at)
			})
		case "message", "logentry":
			if messages {
				return f.message(b, at)
			}
		case "exception":
			if messages || frames {
				return f.exception(b, at, messages, frames)
			}
		case "_metrics":
			end := skipValue(b, at)
			f.metrics = [2]int{at, end}
			return end
		}
		return skipValue(b, at)
	})
	f.close = end - 1
	if end < 0 || skipSpace(b, end) != len(b) {
		f.close = -1
	}
}

func (f *facts) request(b []byte, at int) int {
	return object(b, at, func(key []byte, at int) int {
		switch string(key) {
		case "url":
			f.url, _ = textAt(b, at)
		case "headers":
			if at < len(b) && b[at] == '[' {
				return array(b, at, func(at int) int {
					var name []byte
					n := 0
					return array(b, at, func(at int) int {
						if n++; n == 1 {
							name, _ = textAt(b, at)
						} else {
							f.header(b, name, at)
						}
						return skipValue(b, at)
					})
				})
			}
			return object(b, at, func(key []byte, at int) int {
				f.header(b, key, at)
				return skipValue(b, at)
			})
		case "env":
			return object(b, at, func(key []byte, at int) int {
				if string(key) == "REMOTE_ADDR" {
					f.remoteAddr, _ = textAt(b, at)
				}
				return skipValue(b, at)
			})
		}
		return skipValue(b, at)
	})
}

func (f *facts) header(b, name []byte, at int) {
	if !bytes.EqualFold(name, []byte("user-agent")) || at >= len(b) {
		return
	}
	if b[at] == '[' { // several values
		at = skipSpace(b, at+1)
	}
	f.agent, _ = textAt(b, at)
}

// message reads a text, or an object with formatted and message.
func (f *facts) message(b []byte, at int) int {
	if text, ok := textAt(b, at); ok {
		f.addMessage(text)
	}
	return object(b, at, func(key []byte, at int) int {
		switch string(key) {
		case "formatted", "message":
			if text, ok := textAt(b, at); ok {
				f.addMessage(text)
			}
		}
		return skipValue(b, at)
	})
}

func (f *facts) addMessage(text []byte) {
	if len(f.messages) < maxMessages && len(text) > 0 {
		f.messages = append(f.messages, text[:min(len(text), maxMessageText)])
	}
}

// exception reads {"values": […]}, or the values alone, or one of them.
func (f *facts) exception(b []byte, at int, messages, frames bool) int {
	one := func(at int) int {
		var name, value []byte
		end := object(b, at, func(key []byte, at int) int {
			switch string(key) {
			case "type":
				name, _ = textAt(b, at)
			case "value":
				value, _ = textAt(b, at)
			case "stacktrace":
				if frames {
					return f.stacktrace(b, at)
				}
			}
			return skipValue(b, at)
		})
		if messages {
			f.addMessage(value)
			if len(name) > 0 && len(value) > 0 {
				f.addMessage(append(append(append(make([]byte, 0, len(name)+2+len(value)), name...), ": "...), value...))
			} else {
				f.addMessage(name)
			}
		}
		return end
	}
	if at < len(b) && b[at] == '[' {
		return array(b, at, one)
	}
	wrapped := false
	end := object(b, at, func(key []byte, at int) int {
		if string(key) == "values" {
			wrapped = true
			return array(b, at, one)
		}
		return skipValue(b, at)
	})
	if !wrapped && end >= 0 {
		return one(at)
	}
	return end
}

func (f *facts) stacktrace(b []byte, at int) int {
	return object(b, at, func(key []byte, at int) int {
		if string(key) != "frames" {
			return skipValue(b, at)
		}
		return array(b, at, func(at int) int {
			return object(b, at, func(key []byte, at int) int {
				switch string(key) {
				case "filename", "abs_path":
					if text, ok := textAt(b, at); ok && isExtension(text) {
						f.extension = true
					}
				}
				return skipValue(b, at)
			})
		})
	})
}

// isExtension tells that a file belongs to an extension of a browser.
func isExtension(file []byte) bool {
	scheme, _, ok := bytes.Cut(file, []byte("://"))
	if !ok {
		return false
	}
	switch string(scheme) {
	case "chrome-extension", "moz-extension", "safari-extension", "safari-web-extension", "webkit-masked-url", "ms-browser-extension", "resource":
		return true
	}
	return false
}
