//! What happens next with an incident, and what a person can type.

use super::outcome_line;
use crate::cli::page::Page;
use crate::cli::table::Tone;
use crate::domain::explain::clock;
use crate::domain::incident::{Incident, Phase};

/// What comes, and what can be done about it.
pub fn section(page: &mut Page, incident: &Incident) {
    let id = &incident.id;
    let abort = format!("orderly abort {id} --reason '…'");
    let refuse = format!("orderly refuse {id} --reason '…'");
    page.heading("next");
    match &incident.phase {
        Phase::Locating
        | Phase::Observing
        | Phase::Diagnosing
        | Phase::Planning
        | Phase::Gating => {
            page.line("it is being looked at; look again in a few seconds");
            page.line(&abort);
        }
        Phase::Held { until } => {
            page.line(&format!("it is looked at again at {}", clock(*until)));
            if incident.snooze.is_some() {
                page.line(&format!("orderly snooze {id} --for 0s   (asks again at once)"));
            }
            page.line(&abort);
        }
        Phase::Asking => {
            if let Some(question) = &incident.question {
                let open = question.quorum.saturating_sub(count(question.given.len()));
                let until = clock(question.expires);
                page.toned(Tone::Attention, &format!("{open} more must approve until {until}"));
                let digest = question.digest.short();
                page.line(&format!("orderly approve {id} --digest {digest}"));
            }
            page.line(&refuse);
            page.line(&format!("orderly snooze {id} --for 1h"));
        }
        Phase::Executing { .. } => {
            page.line("the steps are carried out, then the resolution is verified");
            page.line(&abort);
        }
        Phase::Verifying { .. } => {
            let fallbacks = incident.policy.spec.on_failure.len();
            let tried = incident.fallback.map_or(0, |index| index + 1);
            page.line(match fallbacks > tried {
                true => "when it does not hold in time, the policy's next action is tried",
                false => "when it does not hold in time, people are told",
            });
            page.line(&abort);
        }
        Phase::GivenUp { outcome, .. } => {
            page.toned(Tone::Bad, &outcome_line(*outcome));
            page.line("this is a person's work now");
            let escalations = incident.policy.spec.escalate.iter().enumerate();
            for (index, escalation) in escalations {
                let told = match incident.escalated.contains(&index) {
                    true => "was told",
                    false => "will be told",
                };
                page.line(&format!(
                    "`{}` {told} ({} after it began)",
                    escalation.to, escalation.after
                ));
            }
            page.line(&abort);
        }
        Phase::Closed { outcome, at, .. } => {
            page.line(&format!("nothing: closed {}", clock(*at)));
            page.line(&outcome_line(*outcome));
            page.line(&format!("orderly audit --incident {id}"));
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
