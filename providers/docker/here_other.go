//go:build !linux

package docker

// sharesRoot is never true: engines elsewhere than on linux run in a machine of their own.
func sharesRoot(string) bool { return false }
