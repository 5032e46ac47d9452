//! Signs of life: events for whoever reads the log, and requests to a service that notices when they
//! stop (a dead man's switch).

use std::time::Duration;

use reqwest::Url;
use tokio::task::JoinHandle;

use crate::config::Heartbeat;
use crate::outputs::Outcome;
use crate::outputs::secret::Redactor;
use crate::outputs::transport::http::{Http, Request};

/// When signs of life are due, and the switch that waits for them.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    settings: Heartbeat,
    switch: Option<(Http, Url)>,
    /// Seconds since the start or the last change of settings.
    seconds: u64,
    /// A request on its way, with what went wrong.
    request: Option<JoinHandle<Option<String>>>,
    /// Whether the operator was told that the switch cannot be reached.
    told: bool,
}

impl Beats {
    /// Uses these settings from here on.
    pub(crate) fn set(&mut self, settings: &Heartbeat) {
        if self.settings == *settings {
            return;
        }
        *self = Self { settings: settings.clone(), ..Self::default() };
        self.switch = settings.url.as_ref().and_then(|url| {
            // The configuration was checked with the same function.
            Some((Http::new(&serin_services::conf::Conf::new()).ok()?, url.clone()))
        });
    }

    /// One second later: whether an event is due.
    pub(crate) fn tick(&mut self) -> bool {
        self.seconds = self.seconds.saturating_add(1);
        is_due(self.seconds, self.settings.every)
    }

    /// Tells the switch that all is well when that is due; nothing, when it is not. Returns what the
    /// operator should hear: that the switch cannot be reached, once.
    pub(crate) async fn tell_switch(&mut self, well: bool) -> Option<String> {
        let mut news = None;
        if self.request.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(request) = self.request.take()
        {
            let failed = request.await.unwrap_or(None);
            if !self.told {
                news.clone_from(&failed);
            }
            self.told = failed.is_some();
        }
        if let Some((http, url)) = &self.switch
            && well
            && self.request.is_none()
            && (self.seconds == 1 || is_due(self.seconds, self.settings.url_every))
        {
            let (http, url) = (http.clone(), url.clone());
            self.request = Some(tokio::spawn(async move { visit(&http, url).await }));
        }
        news
    }
}

fn is_due(seconds: u64, every: Duration) -> bool {
    every.as_secs() > 0 && seconds.is_multiple_of(every.as_secs())
}

/// What went wrong; never with the address, which is a secret.
async fn visit(http: &Http, url: Url) -> Option<String> {
    let address = url.to_string();
    let request = Request::get(url);
    let outcome = match http.send(request).await {
        Ok(answer) => answer.outcome(),
        Err(outcome) => outcome,
    };
    match outcome {
        Outcome::Retry { why, .. } | Outcome::Hold(why) | Outcome::Reject(why) => {
            // Receivers repeat the path in their error pages.
            let why = Redactor::of_address(&address).clean(&why);
            Some(format!("heartbeat.url: the receiver did not take the sign of life: {why}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_due_each_time_and_never_when_switched_off() {
        let mut beats = Beats::default();
        assert!((0..100).all(|_| !beats.tick()));
        beats.set(&Heartbeat { every: Duration::from_secs(10), ..Heartbeat::default() });
        assert_eq!((0..100).filter(|_| beats.tick()).count(), 10);
    }
}
