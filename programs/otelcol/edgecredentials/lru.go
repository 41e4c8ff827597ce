package edgecredentials

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

type digest = [sha256.Size]byte

// lru remembers by the digest of a token, at most limit of them.
type lru[V any] struct {
	mu      sync.Mutex
	limit   int
	order   *list.List
	entries map[digest]*list.Element
}

type remembered[V any] struct {
	token digest
	value V
}

func newLRU[V any](limit int) *lru[V] {
	return &lru[V]{limit: limit, order: list.New(), entries: map[digest]*list.Element{}}
}

func (l *lru[V]) get(token digest) (value V, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, found := l.entries[token]
	if !found {
		return value, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*remembered[V]).value, true
}

func (l *lru[V]) put(token digest, value V) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, found := l.entries[token]; found {
		e.Value.(*remembered[V]).value = value
		return
	}
	if l.order.Len() >= l.limit {
		last := l.order.Back()
		delete(l.entries, last.Value.(*remembered[V]).token)
		l.order.Remove(last)
	}
	l.entries[token] = l.order.PushFront(&remembered[V]{token, value})
}

func (l *lru[V]) remove(token digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, found := l.entries[token]; found {
		delete(l.entries, token)
		l.order.Remove(e)
	}
}
