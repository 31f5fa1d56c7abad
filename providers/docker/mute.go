package docker

import (
	"maps"
	"sync"
	"time"
)

// muteFor is how long a port that did not answer from inside of its container is taken to go on so. A server that starts is asked ten
// times a second, and each look from inside is a container.
const muteFor = 3 * time.Second

// mutes are the ports that did not answer a courier inside of their containers a moment ago.
type mutes struct {
	mu sync.Mutex
	of map[inner]mute
}

type inner struct {
	container string // its id
	port      int
}

type mute struct {
	at  time.Time
	err error
}

func (m mute) over() bool { return time.Since(m.at) > muteFor }

// lately returns why a port did not answer from inside, unless that was too long ago.
func (m *mutes) lately(container string, port int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if was := m.of[inner{container, port}]; !was.over() {
		return was.err
	}
	return nil
}

// note records what a look at a port from inside came to.
func (m *mutes) note(container string, port int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := inner{container, port}
	maps.DeleteFunc(m.of, func(of inner, was mute) bool { return of == key || was.over() })
	if err == nil {
		return
	}
	if m.of == nil {
		m.of = map[inner]mute{}
	}
	m.of[key] = mute{time.Now(), err}
}

// forget is for a container that was started anew.
func (m *mutes) forget(container string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.of, func(of inner, _ mute) bool { return of.container == container })
}
