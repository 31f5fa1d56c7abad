package main

import (
	"log/slog"

	"github.com/certwright/certwright/reconcile"
)

// logger logs from a level on, and everything where --verbose is given.
func (a *app) logger(level slog.Level) *slog.Logger {
	if a.verbose {
		level = slog.LevelDebug
	}
	o := &slog.HandlerOptions{Level: level}
	if a.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.err, o))
	}
	return slog.New(slog.NewTextHandler(a.err, o))
}

// logged puts the log around every effect, outside of whatever else is around them.
func (a *app) logged() reconcile.Around {
	if !a.verbose {
		return a.around
	}
	log := a.logger(slog.LevelWarn)
	return func(what string, do func() error) error {
		err := a.around.Do(what, do)
		if err != nil {
			log.Debug("effect", "what", what, "error", err)
			return err
		}
		log.Debug("effect", "what", what)
		return nil
	}
}
