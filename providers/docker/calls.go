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
	{"GET", "/info", "architecture, host name and user namespaces, before files go to the engine's machine"},
	{"GET", "/containers/json", "list the containers; list couriers that were never started"},
	{"GET", "/containers/{id}/json", "the user a container runs as; its state after a restart; what `init --running` writes down"},
	{"GET", "/containers/{id}/archive", "read /etc/passwd and /etc/group, to find a user's number"},
	{"GET", "/containers/{id}/logs", "the last line of a container that exited on a reload"},
	{"GET", "/volumes", "list the volumes"},
	{"POST", "/volumes/create", "make a volume that a binding names"},
	{"POST", "/containers/{id}/kill", "send HUP, USR1 or USR2 to a consumer"},
	{"POST", "/containers/{id}/wait", "see whether a consumer exits on a signal; wait for the end of a courier"},
	{"POST", "/containers/{id}/restart", "restart a consumer"},
	{"POST", "/containers/{id}/exec", "run the command that a binding's reload names"},
	{"POST", "/exec/{id}/start", "run that command"},
	{"GET", "/exec/{id}/json", "its exit code"},
	{"GET", "/images/{name}/json", "see whether the courier image is there"},
	{"GET", "/images/json", "list older courier images"},
	{"POST", "/images/create", "import the courier image from certwright's own binary; nothing is pulled"},
	{"DELETE", "/images/{name}", "remove older courier images"},
	{"POST", "/containers/create", "create a courier"},
	{"POST", "/containers/{id}/attach", "talk to a courier"},
	{"POST", "/containers/{id}/start", "start a courier"},
	{"DELETE", "/containers/{id}", "remove a courier that did not start or does not end"},
}
