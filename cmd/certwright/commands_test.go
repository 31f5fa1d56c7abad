package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestCommandsPage wants a row of docs/commands.md for each command and for no other, and each flag there to be one.
func TestCommandsPage(t *testing.T) {
	data, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	_, table, _ := strings.Cut(page, "\n| command | what it does |\n|---|---|\n")
	table, rest, _ := strings.Cut(table, "\n\n")
	rows := map[string]bool{}
	for _, row := range strings.Split(table, "\n") {
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), " | ")
		for _, m := range regexp.MustCompile("`([a-z]+)[^`]*`").FindAllStringSubmatch(first, -1) {
			rows[m[1]] = true
		}
	}
	root := (&app{}).root()
	root.InitDefaultCompletionCmd()
	var all []*cobra.Command
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		all = append(all, c)
		for _, below := range c.Commands() {
			visit(below)
		}
	}
	visit(root)
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		if !rows[c.Name()] {
			t.Errorf("docs/commands.md has no row for %s", c.Name())
		}
		delete(rows, c.Name())
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s --help begins with %q", c.Name(), c.Short)
		}
	}
	for name := range rows {
		t.Errorf("docs/commands.md has a row for %s, which is no command", name)
	}
	for _, m := range regexp.MustCompile("`[^`\n]*`").FindAllString(table+rest, -1) {
		for _, flag := range regexp.MustCompile(`(?:^|[\s\x60])--([a-z][a-z-]*)`).FindAllStringSubmatch(m, -1) {
			if !slices.ContainsFunc(all, func(c *cobra.Command) bool {
				return c.Flags().Lookup(flag[1]) != nil || c.PersistentFlags().Lookup(flag[1]) != nil
			}) {
				t.Errorf("docs/commands.md names --%s, which no command has", flag[1])
			}
		}
	}
}
