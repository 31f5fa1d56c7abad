// Package reconcile makes the world match a spec.
//
// One pass is observe, diff, apply. Observe makes a World, which is values. Diff is pure: it reads a spec and a
// World and returns a Plan, which is data, each step with its reason. Apply carries a Plan out and decides
// nothing. Converge repeats passes until a plan is empty.
//
// Nothing here remembers the last pass but what the store keeps: what was not observed does not exist.
package reconcile
