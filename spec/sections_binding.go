package spec

var bindingSections = []*section{
	&bindingSection, &consumerSection, &secretSection, &engineSection, &contextSection, &fileSection,
	&reloadSection, &httpSection, &probeSection,
}

var bindingSection = section{"binding", []key{
	{"identity", name, optional, "The key and certificate. Without one only trust is placed."},
	{"trust", listOf(name), optional, "CAs, `public` (Mozilla's roots) or `system`. Default: the identity's root"},
	{"host", name, optional, "The engine. Default: local"},
	{"container", `{"anyOf":[` + text + `,` + in("consumer") + `]}`, optional, "Who uses the files: a name, {compose: project/service} or {label: key=value}."},
	{"service", text, optional, "A Swarm service that uses the files."},
	{"directory", text, optional, "Place: a directory on the host, relative to this file."},
	{"volume", text, optional, "Place: a volume."},
	{"path", text, optional, "Place: a directory in the container, on a mount or volume."},
	{"secret", in("secret"), optional, "Place: Swarm secrets."},
	{"config", in("secret"), optional, "Place: Swarm configs, for what is not secret."},
	{"engine", in("engine"), optional, "Place: dockerd's own TLS."},
	{"context", in("context"), optional, "Place: a context of the docker client, of the user who runs certwright."},
	{"trustStore", enum(trustStores), optional, "Place: the trust store inside the container."},
	{"layout", enum(layouts), optional, "atomic (generations behind one link) or plain files. Default: atomic"},
	{"owner", owner, optional, "UID, UID:GID or a user, as the container sees it."},
	{"files", named(`{"anyOf":[` + enum(contents) + `,` + in("file") + `]}`), optional, "File names and what they hold. Default: ca.pem, cert.pem, key.pem"},
	{"reload", `{"anyOf":[` + rung + `,` + listOf(rung) + `]}`, optional, "How the consumer takes the files up; a list is tried in order."},
	{"probe", in("probe"), optional, "How it is proved on the wire."},
	{"limits", in("limits"), optional, "What certwright does by itself at most."},
	{"external", boolean, optional, "Something else places the files."},
	{"onDelete", enum(onDeletes), optional, "What happens when the binding leaves the spec."},
}}

var consumerSection = section{"consumer", []key{
	{"compose", pattern(`^[^/]+/[^/]+$`), optional, "project/service"},
	{"label", text, optional, "key=value or key"},
}}

var secretSection = section{"secret", []key{
	{"mode", mode, optional, "Permission bits in quotes."},
	{"owner", owner, optional, "UID, UID:GID or a user, as the container sees it."},
}}

var engineSection = section{"engine", []key{
	{"listen", listOf(pattern(`^tcp://`)), required, "Where dockerd listens: tcp://HOST:PORT"},
	{"allowRestart", boolean, optional, "dockerd may be restarted."},
}}

var contextSection = section{"context", []key{
	{"name", name, required, "The name of the context; default: the files of DOCKER_CERT_PATH, in docker's configuration."},
	{"endpoint", pattern(`^tcp://`), required, "tcp://HOST:PORT"},
}}

var fileSection = section{"file", []key{
	{"content", enum(contents), required, "What the file holds."},
	{"mode", mode, optional, "Permission bits in quotes. Default: \"0600\" with a key inside, \"0644\" without"},
	{"owner", owner, optional, "UID, UID:GID or a user, as the container sees it."},
	{"password", in("source"), optional, "Keystores: what encrypts it."},
	{"alias", text, optional, "Keystores: the name of the entry. Default: the identity's name"},
}}

var rung = `{"anyOf":[` + enum(rungs) + `,` + in("reload") + `]}`

var reloadSection = section{"reload", []key{
	{"preset", enum(presets), optional, "How this kind of server is reloaded."},
	{"username", text, optional, "Preset: who asks the server."},
	{"password", in("source"), optional, "Preset: the password of who asks."},
	{"signal", pattern(`^(SIG)?[A-Z0-9]+$`), optional, "A signal to the container's first process."},
	{"exec", listOf(argument), optional, "A command in the container, and its arguments."},
	{"user", text, optional, "Exec: who runs the command."},
	{"timeout", duration, optional, "Exec and HTTP: default 30s"},
	{"http", in("http"), optional, "A request to the consumer."},
}}

var httpSection = section{"http", []key{
	{"method", enum(methods), optional, "Default: POST"},
	{"url", pattern(`^https?://`), required, "Where to."},
	{"body", argument, optional, "What is sent."},
}}

var probeSection = section{"probe", []key{
	{"port", integer(1, 65535), required, "Where the server listens."},
	{"protocol", enum(protocols), optional, "Default: that of the preset, else tls"},
	{"serverName", text, optional, "The name to ask for. Default: the identity's first that is no wildcard"},
	{"clientAuth", enum(clientAuths), optional, "none, optional or required. Default: none"},
	{"identity", name, optional, "The client that must be accepted. Default: one made for the probe"},
	{"user", text, optional, "Who logs in to a database."},
	{"database", text, optional, "Which database."},
	{"timeout", duration, optional, "Default: 5s"},
}}
