package formats

import (
	"encoding/json"
	"errors"

	"github.com/certwright/certwright/reconcile"
)

// contextMeta is the description of a docker context, as docker writes it (docker/cli, cli/context/store, Metadata).
type contextMeta struct {
	Name      string
	Metadata  json.RawMessage
	Endpoints struct {
		Docker *contextEndpoint `json:"docker"`
	}
}

type contextEndpoint struct {
	Host          string
	SkipTLSVerify bool
}

func encodeContext(c reconcile.DockerContext) ([]byte, error) {
	m := contextMeta{Name: c.Name, Metadata: json.RawMessage("{}")}
	m.Endpoints.Docker = &contextEndpoint{Host: c.Endpoint}
	return json.Marshal(m)
}

// decodeContext leaves out what changes nothing about the way to the engine: what somebody noted there is no drift.
func decodeContext(data []byte) (reconcile.Holding, error) {
	var m contextMeta
	if err := json.Unmarshal(data, &m); err != nil {
		return reconcile.Holding{}, err
	}
	if m.Endpoints.Docker == nil {
		return reconcile.Holding{}, errors.New("it names no engine")
	}
	if m.Endpoints.Docker.SkipTLSVerify {
		return reconcile.Holding{}, errors.New("it does not verify the engine")
	}
	return reconcile.Holding{Context: reconcile.DockerContext{Name: m.Name, Endpoint: m.Endpoints.Docker.Host}}, nil
}
