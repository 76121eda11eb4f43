package messaging

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// ProcessHook is told when an application processes a record, so that errors
// that happen meanwhile can say which record it was.
type ProcessHook interface {
	// Start is called with the context that the handler is about to get and
	// returns the one that it gets instead.
	Start(ctx context.Context, p *Processing) context.Context
	// End is called once, before the span ends. panicked is what the handler
	// panicked with; the panic goes on afterwards.
	End(ctx context.Context, p *Processing, err error, panicked any)
}

var (
	hooksMu sync.Mutex
	hooks   atomic.Pointer[[]*ProcessHook]
)

// AddProcessHook adds h until remove is called.
func AddProcessHook(h ProcessHook) (remove func()) {
	hooksMu.Lock()
	defer hooksMu.Unlock()
	entry := &h
	all := append(slices.Clone(currentHooks()), entry)
	hooks.Store(&all)
	return func() {
		hooksMu.Lock()
		defer hooksMu.Unlock()
		rest := slices.DeleteFunc(slices.Clone(currentHooks()), func(e *ProcessHook) bool { return e == entry })
		hooks.Store(&rest)
	}
}

func currentHooks() []*ProcessHook {
	if p := hooks.Load(); p != nil {
		return *p
	}
	return nil
}

// startHook returns what h makes of ctx; that of a hook which panics, or returns
// none, stays as it is.
func (p *Processing) startHook(h ProcessHook, ctx context.Context) (out context.Context) { //nolint:revive // the hook comes first
	out = ctx
	defer p.consumer.core.Guard()
	if next := h.Start(ctx, p); next != nil {
		out = next
	}
	return out
}

func (p *Processing) endHook(h ProcessHook, err error, panicked any) {
	defer p.consumer.core.Guard()
	h.End(p.rare.hooked, p, err, panicked)
}
