package memory_test

import (
	"testing"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/providers/memory/contract"
	"github.com/certwright/certwright/reconcile"
)

func TestDaemons(t *testing.T) {
	w := newWorld()
	w.SetDockerd(memory.Dockerd{DaemonState: reconcile.DaemonState{
		Unit: "docker.service", Active: true, Command: []string{"/usr/bin/dockerd"}, CommandAt: "docker.service:5", File: "/etc/docker/daemon.json",
		Hosts: reconcile.Directive{Values: []string{"unix:///run/docker.sock"}, At: "/etc/docker/daemon.json:1"},
	}})
	contract.DaemonsContract(t, contract.Dockerd{
		Daemons: w, Places: w, Around: func(a reconcile.Around) { w.Around = a },
		Restarts: func() int { return w.Dockerd().Restarts }, Back: func() { w.BackByItself() },
	})
}
