//! What can be wrong with gates, approval and verification.

use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;

use super::checks::{Checks, LONGEST};
use super::compiled::Names;
use super::problem::{FieldPath, Problem};
use super::spec::{ActionSpec, FreezeSpec, Mode, PolicySpec, QuerySpec};
use crate::domain::gate::rails::GuardRails;
use crate::domain::nearest::nearest;
use crate::domain::period::Period;

/// People that one plan can ask for.
const MAX_QUORUM: u32 = 10;

pub(super) fn check(checks: &mut Checks<'_>, spec: &PolicySpec, path: &FieldPath) {
    checks.gates(spec, &path.key("gates"));
    checks.approval(spec, &path.key("approval"));
    checks.verify(spec, &path.key("verify"));
}

/// Everything that is wrong with the limits over all policies, which a configuration gives.
pub fn rails_problems(rails: &GuardRails, path: &FieldPath) -> Vec<Problem> {
    let names = Names::default();
    let mut checks = Checks::new(&names);
    let second = Period::from_secs(1);
    let budget = path.key("budget");
    checks.period(rails.budget.per, second, &budget.key("per"));
    if rails.budget.namespace_percent > 100 {
        let message = format!("`{}` percent is more than all", rails.budget.namespace_percent);
        checks.error("range", &budget.key("namespacePercent"), message);
    }
    checks.period(rails.storm.within, second, &path.key("storm").key("within"));
    for (index, freeze) in rails.freeze.iter().enumerate() {
        checks.freeze(freeze, &path.key("freeze").index(index));
    }
    if let Some(monitoring) = &rails.monitoring {
        let path = path.key("monitoring");
        if let Some(watchdog) = &monitoring.watchdog {
            checks.period(watchdog.freshness, second, &path.key("watchdog").key("freshness"));
        }
        if let Some(query) = &monitoring.query {
            checks.query(query, LONGEST, &path.key("query"));
        }
    }
    checks.problems()
}

impl Checks<'_> {
    fn gates(&mut self, spec: &PolicySpec, path: &FieldPath) {
        let gates = &spec.gates;
        self.period(gates.cooldown, Period::ZERO, &path.key("cooldown"));
        let limit = path.key("limit");
        if gates.limit.actions == 0 {
            let message = "a limit of no actions is mode `dry-run`";
            self.push(
                Problem::error("range", limit.key("actions"), message)
                    .help("write `mode: dry-run`"),
            );
        }
        self.period(gates.limit.per, Period::from_secs(1), &limit.key("per"));
        if gates.min_ready_percent > 100 {
            let message = format!("`{}` percent is more than all", gates.min_ready_percent);
            self.error("range", &path.key("minReadyPercent"), message);
        }
        for (index, freeze) in gates.freeze.iter().enumerate() {
            self.freeze(freeze, &path.key("freeze").index(index));
        }
    }

    fn freeze(&mut self, freeze: &FreezeSpec, path: &FieldPath) {
        if Cron::from_str(&freeze.starts).is_err() {
            let message = format!("`{}` is not a cron expression", freeze.starts);
            let problem = Problem::error("cron", path.key("starts"), message);
            self.push(problem.help("write five fields, for example `0 18 * * FRI`"));
        } else if freeze.starts.split_whitespace().count() != 5 {
            let message = format!("`{}` does not have five fields", freeze.starts);
            let problem = Problem::error("cron", path.key("starts"), message);
            self.push(problem.help("minute, hour, day, month, weekday: `0 18 * * FRI`"));
        }
        if TimeZone::get(&freeze.zone).is_err() {
            let message = format!("`{}` is not a time zone", freeze.zone);
            let problem = Problem::error("zone", path.key("zone"), message);
            self.push(problem.help("write an IANA name such as `Europe/Berlin` or `UTC`"));
        }
        self.period(freeze.lasts, Period::from_secs(1), &path.key("lasts"));
    }

    fn approval(&mut self, spec: &PolicySpec, path: &FieldPath) {
        let approval = &spec.approval;
        if !(1..=MAX_QUORUM).contains(&approval.quorum) {
            let message = format!("`quorum` must be between 1 and {MAX_QUORUM}");
            self.error("range", &path.key("quorum"), message);
        }
        self.period(approval.expires_after, Period::from_secs(30), &path.key("expiresAfter"));
        self.groups(&approval.approvers, &path.key("approvers"));
        for (action, groups) in &approval.by_action {
            let path = path.key("byAction").key(action);
            if !ActionSpec::NAMES.contains(&action.as_str()) {
                let message = format!("there is no action `{action}`");
                let help = nearest(action, ActionSpec::NAMES);
                self.push(Problem::error("action", path.clone(), message).maybe_help(help));
            }
            if groups.is_empty() {
                let message = "without a group nobody could be meant";
                let help = "name a group, or leave the action out";
                self.push(Problem::error("range", path.clone(), message).help(help));
            }
            self.groups(groups, &path);
        }
    }

    fn groups(&mut self, groups: &[String], path: &FieldPath) {
        for (index, group) in groups.iter().enumerate() {
            let path = path.index(index);
            if let Some(known) = &self.names.groups
                && !known.contains(group)
            {
                let message = format!("the configuration has no group `{group}`");
                let help = nearest(group, known.iter().map(String::as_str));
                self.push(Problem::error("group", path, message).maybe_help(help));
            }
        }
    }

    fn verify(&mut self, spec: &PolicySpec, path: &FieldPath) {
        let verify = &spec.verify;
        if matches!(spec.mode, Mode::Approval | Mode::Auto) {
            self.period(verify.within, Period::from_secs(1), &path.key("within"));
        }
        self.period(verify.stable_for, Period::ZERO, &path.key("stableFor"));
        if verify.stable_for >= verify.within && verify.stable_for > Period::ZERO {
            let message = format!(
                "`{}` of stability can never be seen within `{}`",
                verify.stable_for, verify.within
            );
            let help = "make `within` longer than `stableFor`";
            let problem = Problem::error("verify", path.key("stableFor"), message);
            self.push(problem.help(help));
        }
        if let Some(query) = &verify.query {
            self.query(query, verify.within, &path.key("query"));
        }
    }

    fn query(&mut self, query: &QuerySpec, within: Period, path: &FieldPath) {
        self.promql(&query.expr, &path.key("expr"));
        if query.below.is_some() == query.above.is_some() {
            let message = "exactly one of `below` and `above` must be given";
            self.error("verify", path, message);
        }
        for (name, value) in [("below", query.below), ("above", query.above)] {
            if value.is_some_and(|value| !value.is_finite()) {
                self.error("range", &path.key(name), "the threshold must be a number");
            }
        }
        self.period(query.hold, Period::ZERO, &path.key("for"));
        if query.hold >= within && query.hold > Period::ZERO {
            let message = format!("`{}` can never pass within `{within}`", query.hold);
            let help = "make `verify.within` longer than `for`";
            self.push(Problem::error("verify", path.key("for"), message).help(help));
        }
    }
}
