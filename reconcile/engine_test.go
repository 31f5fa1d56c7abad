package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

const engineYAML = "identities:\n  engine: {ca: services, names: [core-02]}"

const engineBinding = "bindings:\n" +
	"  engine: {identity: engine, trust: [services], engine: {listen: [\"tcp://0.0.0.0:2376\"], allowRestart: true}}"

// withEngine gives the estate's engine, which has a plain TCP socket, a certificate.
func (e *estate) withEngine() {
	e.t.Helper()
	e.SetDockerd(memory.Dockerd{DaemonState: reconcile.DaemonState{
		Unit: "docker.service", Active: true, Command: []string{"/usr/bin/dockerd"}, CommandAt: "docker.service:5", File: "/etc/docker/daemon.json", Live: true,
	}})
	e.edit("identities:", engineYAML, "bindings:", engineBinding)
}

func (e *estate) says(when, want string) {
	e.t.Helper()
	if d := cmp.Diff(want, text(e.plan(reconcile.Scope{}))); d != "" {
		e.t.Errorf("%s: -want +got\n%s", when, d)
	}
}

// TestEngine leads dockerd from plain TCP to mutual TLS and to the next certificate, with one restart each.
func TestEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withEngine()
		d := e.Dockerd()
		d.Hosts = reconcile.Directive{Values: []string{"fd://", "tcp://0.0.0.0:2375"}, At: "/etc/docker/daemon.json:3"}
		e.SetDockerd(d)
		e.says("plain", "1 issue engine: not issued\n2 place engine in /etc/docker/tls/a: not placed [1]\n"+
			"3 restart docker.service, to read /etc/docker/tls/a: /etc/docker/daemon.json: hosts and its TLS to be set [2]\n")
		if got := e.plan(reconcile.Scope{}).Steps; !got[2].Action.Interrupts() {
			t.Error("a restart interrupts nothing")
		}
		e.converge()
		e.audit()
		is := e.Dockerd()
		if want := []string{"fd://", "tcp://0.0.0.0:2376"}; is.Restarts != 1 || !cmp.Equal(want, is.Hosts.Values) || !is.TLS.Verify {
			t.Errorf("%d restarts, %q, %+v", is.Restarts, is.Hosts.Values, is.TLS)
		}

		// A renewal, with the clients of the engine first, and what ends with it.
		e.edit("identities:", engineYAML, "bindings:", engineBinding+"\n  ops: {identity: client, context: {name: core-02, endpoint: \"tcp://core-02:2376\"}}\n"+
			"  far: {identity: client, context: {name: core-03, endpoint: \"tcp://core-03:2376\"}}")
		e.converge()
		d = e.Dockerd()
		d.Live = false
		e.live(false)
		e.wish("identity/engine")
		e.wish("identity/client")
		c := e.spec.BindingByName("ops").Place.Context
		far := e.spec.BindingByName("far").Place.Context
		got := strings.NewReplacer(c.TLS(), "TLS", far.TLS(), "FAR").Replace(text(e.plan(reconcile.Scope{Only: []string{"engine", "ops", "far"}})))
		if d := cmp.Diff("1 issue engine: rotation asked for\n2 issue client: rotation asked for\n3 place ops in TLS: follows its certificate [2]\n"+
			"4 place far in FAR: follows its certificate [2]\n5 place engine in /etc/docker/tls/b: not placed [1]\n"+
			"6 restart docker.service, to read /etc/docker/tls/b: follows its certificate; it ends 6 running containers (live-restore is off) [3 5]\n", got); d != "" {
			t.Errorf("a renewal -want +got\n%s", d)
		}
		e.converge()
		e.live(true)
		if is := e.Dockerd(); is.Restarts != 2 || is.TLS.Cert != "/etc/docker/tls/b/cert.pem" {
			t.Errorf("%d restarts, %+v", is.Restarts, is.TLS)
		}
		if _, left := e.load().Places[reconcile.Location{Host: "local", Dir: "/etc/docker/tls", Sub: "a"}]; left {
			t.Error("the files of before are left")
		}

		// What others do to the files it reads is undone, and it goes on with what it has.
		e.Delete(reconcile.Location{Host: "local", Dir: "/etc/docker/tls", Sub: "b"}, "key.pem")
		e.says("drift", "1 place engine in /etc/docker/tls/b: key.pem is missing\n")
		e.converge()
		if is := e.Dockerd(); is.Restarts != 2 {
			t.Errorf("%d restarts", is.Restarts)
		}

		// Its files stay as long as it is configured with them.
		e.read(estateYAML)
		e.converge()
		if got := text(e.plan(reconcile.Scope{})); !strings.Contains(got, "Waiting binding/engine: left the spec, but dockerd is configured with it in /etc/docker/daemon.json\n") {
			t.Errorf("it left the spec:\n%s", got)
		}
	})
}

// live sets whether containers outlive the engine.
func (e *estate) live(on bool) { e.ChangeDockerd(func(d *reconcile.DaemonState) { d.Live = on }) }

// TestEngineComesBack has an engine that does not start with a certificate: it has what it had before, and says so.
func TestEngineComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withEngine()
		d := e.Dockerd()
		broken := ""
		d.Refuses = func(serial string) string {
			if serial == broken {
				return "it does not like it"
			}
			return ""
		}
		e.SetDockerd(d)
		e.converge()
		before := e.Dockerd()

		e.wish("identity/engine")
		e.Around = func(what string, do func() error) error {
			if what == "restart dockerd" {
				broken = e.load().Identities["engine"].Serial
			}
			return do()
		}
		out := e.converge()
		e.Around = nil
		if said := text(out.Plan); !strings.HasPrefix(said, "Failed binding/engine: dockerd did not take up its new configuration, and has the one of before: ") ||
			!strings.Contains(said, "it does not like it") {
			t.Errorf("it says\n%s", said)
		}
		is := e.Dockerd()
		if !is.Active || is.TLS != before.TLS || !cmp.Equal(is.Hosts.Values, before.Hosts.Values) {
			t.Errorf("it has not come back as it was: %+v", is.DaemonState)
		}
		w := e.observe()
		plan := reconcile.Diff(e.spec, w, reconcile.Scope{Patient: true, Since: time.Now()})
		if !plan.Empty() {
			t.Errorf("watch does not wait:\n%s", text(plan))
		}
		for _, b := range reconcile.Assess(e.spec, w, plan).Bindings {
			if b.Name == "engine" && (b.State != reconcile.Failed || !strings.Contains(b.Reason, "it does not like it")) {
				t.Errorf("it is %s: %s", b.State, b.Reason)
			}
		}

		broken = ""
		time.Sleep(time.Minute)
		if out := e.converge(); out.Err != nil {
			t.Error(out.Err)
		}
		e.audit()
	})
}

// TestEngineCutOff has an engine that is down since a restart was cut off: it is brought back, however often it was restarted.
func TestEngineCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEstate(t)
		e.steady()
		e.withEngine()
		e.converge()
		dead := false
		e.wish("identity/engine")
		e.Around = func(what string, do func() error) error {
			if dead {
				return errFault
			}
			if dead = what == "restart dockerd"; dead {
				e.ChangeDockerd(func(d *reconcile.DaemonState) { d.Active = false })
				return errFault
			}
			return do()
		}
		_, _ = e.applier().Converge(t.Context(), reconcile.Scope{})
		e.Around = nil
		st := e.load()
		load := st.Loads["engine/dockerd"]
		load.Restarts = []time.Time{time.Now(), time.Now(), time.Now(), time.Now()}
		st.Loads["engine/dockerd"] = load
		e.commit(st)
		e.SetEngine("local", memory.Engine{Down: "no answer", Named: true}) // which is no reason to do nothing
		got := e.plan(reconcile.Scope{}).Steps
		if len(got) != 1 || got[0].Action.String() != "restart docker.service, to read /etc/docker/tls/b" || got[0].Reason != "a restart was cut off" {
			t.Errorf("it is down: %v", got)
		}
		if _, err := e.applier().Converge(t.Context(), reconcile.Scope{}); err == nil {
			t.Error("an engine that was named does not answer, and nobody says so")
		}
		if !e.Dockerd().Active {
			t.Fatal("it is down still")
		}
		e.SetEngine("local", memory.Engine{})
		e.converge()
		e.audit()
	})
}

// TestEngineRefused has what is said before anything is done.
func TestEngineRefused(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*reconcile.DaemonState)
		edit   []string
		want   string
	}{
		"a clash": {func(d *reconcile.DaemonState) {
			d.Command, d.CommandAt = []string{"dockerd", "-H", "fd://"}, "/etc/systemd/system/docker.service.d/override.conf:3"
			d.Hosts = reconcile.Directive{Values: []string{"unix:///run/docker.sock"}, At: "/etc/docker/daemon.json:2"}
		}, nil, "Blocked binding/engine: dockerd would not start again: hosts is in /etc/docker/daemon.json:2, and -H in /etc/systemd/system/docker.service.d/override.conf:3\n"},
		"a variable": {func(d *reconcile.DaemonState) {
			d.Command, d.Running = []string{"dockerd", "$DOCKER_OPTS"}, []string{"dockerd", "--host=tcp://0.0.0.0:2375"}
		}, nil, "Blocked binding/engine: $DOCKER_OPTS in docker.service:5 says where dockerd listens, or its TLS\n"},
		"a file that is no JSON": {
			func(d *reconcile.DaemonState) { d.FileErr = "/etc/docker/daemon.json:2: invalid character" }, nil,
			"Blocked binding/engine: /etc/docker/daemon.json:2: invalid character; it is left alone\n",
		},
		"no service manager": {func(d *reconcile.DaemonState) { d.Err = "systemd does not run here" }, nil, "Blocked binding/engine: systemd does not run here\n"},
		"another machine that does not answer": {
			func(d *reconcile.DaemonState) { d.Err, d.Away = "the machine of core does not answer", true }, nil,
			"Failed binding/engine: the machine of core does not answer\n",
		},
		"stopped":    {func(d *reconcile.DaemonState) { d.Active = false }, nil, "Waiting binding/engine: waits for the engine: docker.service does not run\n"},
		"no restart": {func(*reconcile.DaemonState) {}, []string{", allowRestart: true", ""}, "Blocked binding/engine: dockerd has to be restarted, and allowRestart is not set: /etc/docker/daemon.json: hosts and its TLS to be set\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEstate(t)
				e.steady()
				e.withEngine()
				if row.edit != nil {
					e.edit("identities:", engineYAML, "bindings:", strings.Replace(engineBinding, row.edit[0], row.edit[1], 1))
				}
				e.ChangeDockerd(row.change)
				e.converge()
				e.says("refused", row.want)
				if is := e.Dockerd(); is.Restarts > 0 || is.TLS.Verify {
					t.Errorf("it was touched: %+v", is)
				}
			})
		})
	}
}

// TestEngineFlags moves what the unit says of sockets and TLS into the file, and nothing else.
func TestEngineFlags(t *testing.T) {
	for _, row := range []struct{ command, rest, hosts string }{
		{"dockerd -H fd:// --containerd=/run/c.sock", "dockerd --containerd=/run/c.sock", "fd:// tcp://0.0.0.0:2376"},
		{"dockerd --host=fd:// -H=tcp://0.0.0.0:2375 --debug", "dockerd --debug", "fd:// tcp://0.0.0.0:2376"},
		{"dockerd -Hunix:///x --tlsverify --tlscacert a --tlscert=b --tlskey c -D", "dockerd -D", "unix:///x tcp://0.0.0.0:2376"},
		{"dockerd --tls=true --host unix:///x", "dockerd", "unix:///x tcp://0.0.0.0:2376"},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newEstate(t)
			e.steady()
			e.withEngine()
			e.ChangeDockerd(func(d *reconcile.DaemonState) { d.Command = strings.Fields(row.command) })
			e.converge()
			is := e.Dockerd()
			if got := strings.Join(is.Command, " "); got != row.rest {
				t.Errorf("%s becomes %s", row.command, got)
			}
			if got := strings.Join(is.Hosts.Values, " "); got != row.hosts {
				t.Errorf("of %s are the hosts %s", row.command, got)
			}
			e.audit()
		})
	}
}

// TestEngineAddress is where dockerd is looked at.
func TestEngineAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"tcp://0.0.0.0:2376": "127.0.0.1:2376", "tcp://[::]:2376": "[::1]:2376", "tcp://:2376": "127.0.0.1:2376",
		"tcp://10.0.0.2:2376": "10.0.0.2:2376", "tcp://core-02:2376": "core-02:2376",
	} {
		if got := (spec.EngineTLS{Listen: []string{listen}}).Address(); got != want {
			t.Errorf("%s is reached at %s, not %s", listen, got, want)
		}
	}
}
