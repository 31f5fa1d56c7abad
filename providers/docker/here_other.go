//go:build !linux

package docker

// sharesRoot is never true: engines elsewhere than on linux run in a machine of their own.
func sharesRoot(string) bool { return false }

// hasOwnNetwork is never true: what that machine publishes is on the loopback of this one.
func hasOwnNetwork(string) bool { return false }
