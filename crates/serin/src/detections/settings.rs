//! What the operator decides about detection rules.

use std::time::Duration;

use crate::config::rules::Files;
use crate::outputs::delivery::Names;

serin_services::settings! { "detection" {
    /// Whether Sigma rules are evaluated on events as they happen.
    enabled: bool = true;
    /// Whether the rules that come with the program are among them.
    builtin: bool = true;
    /// Files with Sigma rules, or folders of such files at any depth (`*.yml`, `*.yaml`), such as a
    /// checkout of SigmaHQ's rules. A rule that cannot be used is left out with its reason
    /// (`serin rules check`), and a change is taken within ten seconds.
    rules: Files = Files::default();
    /// Rules that take no part, by their id or their title.
    disable: Names = Names(Vec::new());
    /// What placeholders in rules stand for (`%Administrators%`), each as `NAME=value,value`.
    placeholders: Names = Names(Vec::new());
    /// Seconds after a detection within which the same rule is not told again of the same source or
    /// group; what fires meanwhile is counted in the next one.
    repeat: Duration = Duration::from_mins(5);
    /// Megabytes that correlations may keep in memory in total. Beyond it groups that are far from
    /// firing are forgotten first, and that is told.
    memory: u32 = 64;
} }

impl Default for Settings {
    fn default() -> Self {
        let defaults = Self::read(&serin_services::conf::Conf::new());
        defaults.unwrap_or_else(|it| unreachable!("the defaults are of their types: {it:?}"))
    }
}
