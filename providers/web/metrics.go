package web

import (
	"errors"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/certwright/certwright/reconcile"
)

const space = "certwright"

// counts are the numbers that grow over the passes.
type counts struct {
	passes    prometheus.Counter
	errors    *prometheus.CounterVec // by cause: a Trouble
	trouble   *prometheus.GaugeVec   // by cause
	steps     *prometheus.CounterVec // by kind and result
	duration  prometheus.Histogram
	success   prometheus.Gauge
	converged prometheus.Gauge
}

func newCounts() counts {
	c := counts{
		passes: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: space, Name: "passes_total", Help: "Passes that have ended.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Name: "pass_errors_total", Help: "Passes with trouble, by the gravest cause: pass (could not look at everything), spec (tls.yaml cannot be used), steps (one failed).",
		}, []string{"cause"}),
		trouble: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: space, Name: "last_pass_trouble", Help: "1 for the cause that the last pass had trouble with, else 0.",
		}, []string{"cause"}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Name: "steps_total", Help: "Steps carried out, by kind (as in plan -o json) and result (done or failed).",
		}, []string{"kind", "result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: space, Name: "pass_duration_seconds", Help: "How long passes took.", Buckets: []float64{.05, .25, 1, 5, 15, 60, 300, 1200},
		}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Name: "last_success_timestamp_seconds", Help: "When the last pass ended that looked at everything; 0 for never.",
		}),
		converged: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: space, Name: "converged", Help: "1 when the last pass left nothing to do and found nothing wrong, else 0.",
		}),
	}
	for _, cause := range troubles {
		c.errors.WithLabelValues(string(cause)) // from zero, so that the first is seen to come
		c.trouble.WithLabelValues(string(cause))
	}
	return c
}

func (c counts) pass(t Trouble, took time.Duration) {
	c.passes.Inc()
	c.duration.Observe(took.Seconds())
	for _, cause := range troubles {
		c.trouble.WithLabelValues(string(cause)).Set(number(cause == t))
	}
	if t != NoTrouble {
		c.errors.WithLabelValues(string(t)).Inc()
	}
}

func (c counts) step(e reconcile.Event) {
	switch {
	case !e.Done, errors.Is(e.Err, reconcile.ErrChanged): // somebody else was faster: it is looked at again
	case e.Err != nil:
		c.steps.WithLabelValues(e.Step.Action.Kind(), "failed").Inc()
	default:
		c.steps.WithLabelValues(e.Step.Action.Kind(), "done").Inc()
	}
}

// registry holds everything that /metrics shows.
func (s *Server) registry() *prometheus.Registry {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: space, Name: "build_info", Help: "The version, with the value 1.",
		ConstLabels: prometheus.Labels{"version": s.o.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	interval := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: space, Name: "interval_seconds", Help: "A pass comes after this at the latest.",
	})
	interval.Set(s.o.Interval.Seconds())
	r := prometheus.NewRegistry()
	r.MustRegister(build, interval, s.counts.passes, s.counts.errors, s.counts.trouble, s.counts.steps, s.counts.duration, s.counts.success, s.counts.converged, last{s})
	// What leaks shows in memory, goroutines and open files, long before it does harm.
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// last collects what passes saw last.
type last struct{ s *Server }

// Describe says nothing: which series there are depends on the spec.
func (last) Describe(chan<- *prometheus.Desc) {}

// Collect gives the series of what was seen last.
func (l last) Collect(to chan<- prometheus.Metric) {
	l.s.mu.Lock()
	series := l.s.series
	l.s.mu.Unlock()
	for _, m := range series.rest {
		to <- m
	}
	for _, of := range series.bindings {
		for _, m := range of {
			to <- m
		}
	}
}

func seconds(t time.Time) float64 { return float64(t.Unix()) }
