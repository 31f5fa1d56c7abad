package memory_test

import (
	"testing"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/providers/memory/contract"
)

func TestConfigs(t *testing.T) { contract.Configs(t, &memory.Configs{}, "configs") }
