package docker

// Call is one kind of request to an engine.
type Call struct {
	Method string
	Path   string // without the API version; {id}, {name} stand for one name
	Why    string
}

// Calls is everything that this package ever asks of an engine. The tests record what they send and compare.
var Calls = []Call{
	{"HEAD", "/_ping", "agree on the version of the API"},
	{"GET", "/info", "architecture, host name and user namespaces, before files go to the engine's machine; which engine it is, where the spec has several"},
	{"GET", "/containers/json", "list the containers; list couriers that were never started"},
	{"GET", "/containers/{id}/json", "the user a container runs as; when it started, where the directory it mounts is younger than it; its restart policy, before a signal; its state after a restart; how a server that ended did; whether one runs in whose network names are proved; what `init --running` writes down"},
	{"GET", "/containers/{id}/archive", "read /etc/passwd and /etc/group, to find a user's number; read the trust store of a container that a binding names"},
	{"HEAD", "/containers/{id}/archive", "see which trust store a container has, and whether its tool is there"},
	{"PUT", "/containers/{id}/archive", "put the roots of a binding into the trust store of its container, and note there what is ours"},
	{"GET", "/containers/{id}/logs", "the last lines of a container that exited on a reload"},
	{"GET", "/volumes", "list the volumes"},
	{"POST", "/volumes/create", "make a volume that a binding names"},
	{"POST", "/containers/{id}/kill", "send HUP, USR1 or USR2 to a consumer"},
	{"POST", "/containers/{id}/wait", "see whether a consumer exits on a signal; wait for the end of a courier"},
	{"POST", "/containers/{id}/restart", "restart a consumer"},
	{"POST", "/containers/{id}/exec", "run the command that a binding's reload names; run the tool of a container's trust store"},
	{"POST", "/exec/{id}/start", "run that command"},
	{"GET", "/exec/{id}/json", "its exit code"},
	{"GET", "/images/{name}/json", "see whether the courier image is there"},
	{"GET", "/images/json", "list older courier images"},
	{"POST", "/images/create", "import the courier image from certwright's own binary; nothing is pulled"},
	{"DELETE", "/images/{name}", "remove older courier images"},
	{"POST", "/containers/create", "create a courier"},
	{"POST", "/containers/{id}/attach", "talk to a courier"},
	{"POST", "/containers/{id}/start", "start a courier"},
	{"GET", "/events", "`watch`: hear when something changed; every pass looks at everything all the same; whether a server that ended was stopped"},
	{"GET", "/services", "list the services of a Swarm"},
	{"POST", "/services/create", "make an outpost: a courier in the overlay network of tasks on other nodes, to look at them from"},
	{"DELETE", "/services/{id}", "remove an outpost"},
	{"GET", "/services/{id}", "read a service before it is updated, and follow the update"},
	{"GET", "/tasks", "list the tasks: their secrets and configs are still needed"},
	{"GET", "/secrets", "list the secrets; what is in them cannot be read"},
	{"POST", "/secrets/create", "make a secret for a file of a binding"},
	{"POST", "/secrets/{id}/update", "ask whether a secret holds what it should, and label one that does; `verify --deep` sends the labels it has"},
	{"POST", "/services/{id}/update", "give a service other secrets and configs, and change nothing else of it"},
	{"DELETE", "/secrets/{id}", "remove a secret of ours that nothing uses"},
	{"GET", "/configs", "list the configs of bindings, with what is in them; read the store, where it is in the Swarm, and find its older generations"},
	{"GET", "/configs/{id}", "read the rest of a store that is larger than one config"},
	{"POST", "/configs/create", "make a config for a file of a binding that holds no key; write the next generation of the store, sealed"},
	{"POST", "/configs/{id}/update", "label a config of ours that lost its labels"},
	{"DELETE", "/configs/{id}", "remove a config of ours that nothing uses; remove older generations of the store"},
	{"GET", "/swarm", "the root of a Swarm, and whether it is being rotated; the join tokens in the answer are dropped"},
	{"GET", "/nodes", "which nodes are ready, and whether they have a certificate of that root"},
	{"POST", "/swarm/update", "rotate that root, set how long node certificates live, or note the rotation; nothing else of it is changed"},
	{"DELETE", "/containers/{id}", "remove a courier that did not start or does not end"},
}
