package memory

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/certwright/certwright/reconcile"
)

// Configs are the Docker configs of a Swarm. Their methods may be called at once.
type Configs struct {
	Around reconcile.Around

	mu sync.Mutex
	at map[string][]byte
}

// List implements store.Configs.
func (c *Configs) List(_ context.Context, prefix string) (map[string][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string][]byte{}
	for name, data := range c.at {
		if strings.HasPrefix(name, prefix) {
			found[name] = slices.Clone(data)
		}
	}
	return found, nil
}

// Read implements store.Configs.
func (c *Configs) Read(_ context.Context, name string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, there := c.at[name]
	if !there {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return slices.Clone(data), nil
}

// Create implements store.Configs, with Swarm's limits.
func (c *Configs) Create(_ context.Context, name string, data []byte) error {
	return c.Around.Do("POST /configs/create", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, there := c.at[name]; there {
			return fmt.Errorf("%s: %w", name, fs.ErrExist)
		}
		if len(name) > 64 || len(data) == 0 || len(data) >= 1000<<10 {
			return fmt.Errorf("%s: %d bytes under a name of %d", name, len(data), len(name))
		}
		if c.at == nil {
			c.at = map[string][]byte{}
		}
		c.at[name] = slices.Clone(data)
		return nil
	})
}

// Remove implements store.Configs.
func (c *Configs) Remove(_ context.Context, name string) error {
	return c.Around.Do("DELETE /configs/{id}", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.at, name)
		return nil
	})
}

// Names are those of all configs, sorted.
func (c *Configs) Names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.at))
}
