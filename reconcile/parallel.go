package reconcile

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// inParallel calls do for 0 … n-1 on every processor and returns the first error by index.
func inParallel(n int, do func(i int) error) error {
	return inWorkers(runtime.GOMAXPROCS(0), n, do)
}

func inWorkers(workers, n int, do func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
			errs[i] = do(int(i))
		}
	}
	var wg sync.WaitGroup
	for range min(workers, n) - 1 {
		wg.Go(work)
	}
	work() // for one thing alone nobody else need wake
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
