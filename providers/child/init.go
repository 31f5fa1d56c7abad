package child

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Init is the first process of a container: it runs us once more with the same arguments, passes signals on, takes up whatever
// ended and nobody waited for, and returns our exit code. A first process that also runs commands could not tell which of
// those that ended are for it to wait for.
func Init() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find myself: %w", err)
	}
	signals := Signals()
	p, err := os.StartProcess(self, os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Env: os.Environ()})
	if err != nil {
		return 0, fmt.Errorf("run myself once more: %w", err)
	}
	ended := make(chan int)
	go func() { ended <- reap(p.Pid) }()
	for {
		select {
		case code := <-ended:
			return code, nil
		case s := <-signals:
			if Passed(s) {
				_ = p.Signal(s)
			}
		}
	}
}

// reap waits for every process that ends until one does, and returns its exit code (wait(2)).
func reap(until int) int {
	for {
		var state syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &state, 0, nil)
		if err == nil && pid == until && (state.Exited() || state.Signaled()) {
			return code(state)
		}
	}
}

// Hide keeps what we hold from the command, which may run as the same user: our memory, and in /proc/PID/environ the variables
// that it is not given (prctl(2), PR_SET_DUMPABLE). What we start is not hidden.
func Hide() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
