package store

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// codec walks a document and either writes it or reads it. One description of the document serves both, so that
// they cannot disagree: every method takes a pointer, which it reads from when writing and stores to when reading.
//
// Numbers are the varints of encoding/binary, a string is its length and its bytes, a list is its length and its
// elements, a map is a list of pairs in the order of the keys. What is read shares its memory with the input: a
// state has tens of thousands of strings, and to allocate each would take longer than all the rest.
type codec struct {
	writing bool
	format  int    // of the document
	buf     []byte // what has been written, or what is left to read
	left    string // reading: the same as buf
	err     error  // the first fault found while reading; nothing is read after it

	index map[string]uint64 // writing: where a shared byte string stands in the order of their first use
	seen  [][]byte          // reading: the shared byte strings so far
}

// fail ends the reading: there is nothing left.
func (c *codec) fail() {
	c.err, c.buf, c.left = errDocument, nil, ""
}

// take moves on by n bytes.
func (c *codec) take(n int) ([]byte, string) {
	b, s := c.buf[:n:n], c.left[:n]
	c.buf, c.left = c.buf[n:], c.left[n:]
	return b, s
}

func (c *codec) unsigned(p *uint64) {
	if c.writing {
		c.buf = binary.AppendUvarint(c.buf, *p)
		return
	}
	v, n := binary.Uvarint(c.buf)
	if n <= 0 {
		c.fail()
		return
	}
	*p = v
	c.take(n)
}

// length codes the length of something that takes at least one byte for each.
func (c *codec) length(n int) int {
	v := uint64(n)
	c.unsigned(&v)
	if !c.writing && v > uint64(len(c.buf)) {
		c.fail()
		return 0
	}
	return int(v)
}

func number[N ~int | ~int64](c *codec, p *N) {
	if c.writing {
		c.buf = binary.AppendVarint(c.buf, int64(*p))
		return
	}
	v, n := binary.Varint(c.buf)
	if n <= 0 || int64(N(v)) != v {
		c.fail()
		return
	}
	*p = N(v)
	c.take(n)
}

func (c *codec) flag(p *bool) {
	var v uint64
	if *p {
		v = 1
	}
	c.unsigned(&v)
	if v > 1 {
		c.fail()
	}
	if !c.writing {
		*p = v == 1
	}
}

// moment codes a time to the nanosecond; it is read as UTC.
func (c *codec) moment(p *time.Time) { c.from(p, time.Unix(0, 0)) }

// from codes a moment by its distance from another one: two bytes where it is the same.
func (c *codec) from(p *time.Time, other time.Time) {
	seconds, nanos := p.Unix()-other.Unix(), p.Nanosecond()-other.Nanosecond()
	number(c, &seconds)
	number(c, &nanos)
	seconds, nanos = seconds+other.Unix(), nanos+other.Nanosecond()
	if nanos < 0 || nanos >= int(time.Second) {
		c.fail()
	}
	if !c.writing && c.err == nil {
		*p = time.Unix(seconds, int64(nanos)).UTC()
	}
}

// bytes codes a byte string; an empty one is read as nil.
func (c *codec) bytes(p *[]byte) {
	n := c.length(len(*p))
	if c.writing {
		c.buf = append(c.buf, *p...)
		return
	}
	*p = nil
	if n > 0 {
		*p, _ = c.take(n)
	}
}

func text[S ~string](c *codec, p *S) {
	n := c.length(len(*p))
	if c.writing {
		c.buf = append(c.buf, *p...)
		return
	}
	_, s := c.take(n)
	*p = S(s)
}

// shared codes a byte string that is expected many times, like the certificate of a root: the first time in
// full after a zero, later as its place in the order of first use, from one.
func (c *codec) shared(p *[]byte) {
	ref := c.index[string(*p)]
	c.unsigned(&ref)
	switch {
	case c.err != nil:
	case ref == 0:
		c.bytes(p)
		if c.writing {
			c.index[string(*p)] = uint64(len(c.index) + 1)
			return
		}
		c.seen = append(c.seen, *p)
	case c.writing:
	case ref > uint64(len(c.seen)):
		c.fail()
	default:
		*p = c.seen[ref-1]
	}
}

func list[T any](c *codec, p *[]T, each func(*codec, *T)) {
	n := c.length(len(*p))
	if c.writing {
		for i := range *p {
			each(c, &(*p)[i])
		}
		return
	}
	*p = nil
	if n > 0 {
		*p = make([]T, 0, min(n, 16))
	}
	var none T
	for i := 0; i < n && c.err == nil; i++ {
		*p = append(*p, none)
		each(c, &(*p)[i])
	}
}

// table codes a map; it is read as one that is never nil. Keys that do not ascend are a fault, so that no key
// comes twice.
func table[K comparable, V any](c *codec, p *map[K]V, compare func(a, b K) int, key func(*codec, *K), value func(*codec, *V)) {
	n := c.length(len(*p))
	var k, last K // of one pair after the other: what the functions are given lies on the heap
	var v, none V
	if c.writing {
		for _, k = range slices.SortedFunc(maps.Keys(*p), compare) {
			v = (*p)[k]
			key(c, &k)
			value(c, &v)
		}
		return
	}
	*p = make(map[K]V, min(n, len(c.buf)/64)) // a length that lies must not take more memory than the file
	for i := 0; i < n && c.err == nil; i++ {
		v = none
		key(c, &k)
		value(c, &v)
		if i > 0 && compare(last, k) >= 0 {
			c.fail()
			return
		}
		(*p)[k], last = v, k
	}
}
