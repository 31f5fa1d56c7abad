package dockertest

import "sync"

// known is what this process found out once, by path.
type known[T any] struct {
	mu sync.Mutex
	of map[string]T
}

func (k *known[T]) get(path string, find func() T) T {
	k.mu.Lock()
	defer k.mu.Unlock()
	if found, ok := k.of[path]; ok {
		return found
	}
	if k.of == nil {
		k.of = map[string]T{}
	}
	k.of[path] = find()
	return k.of[path]
}
