//! `orderly approve`: shows the plan, asks, and agrees with exactly what was shown.

use std::io::{BufRead, IsTerminal as _, Write};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::client::{Client, ClientError, ServerFlags};
use super::decided::print_decided;
use super::page::{Page, print, print_json};
use super::{Format, STALE, incidents, story};
use crate::http::api::{ApproveRequest, DigestPrefix, IncidentDetail, ProposalView, Reason};
use crate::http::problem::Problem;

/// Agree with the plan of an incident.
#[derive(Args, Debug)]
pub struct ApproveArgs {
    /// The incident's id, or the beginning of it
    pub id: String,
    /// The plan that you looked at; without it the plan is shown, and on a terminal you are asked
    #[arg(long)]
    pub digest: Option<DigestPrefix>,
    /// Why; the journal keeps it
    #[arg(long)]
    pub reason: Option<Reason>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// How to print what came of it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Which service
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Agrees.
///
/// # Errors
/// When the service refuses or does not answer.
pub fn run(args: &ApproveArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.server)?;
    super::block_on(approve(args, &client))
}

async fn approve(args: &ApproveArgs, client: &Client) -> anyhow::Result<ExitCode> {
    let id = incidents::find(client, &args.id).await?;
    let digest = match &args.digest {
        Some(digest) => digest.clone(),
        None if args.format == Format::Json && !args.yes => {
            bail!("for a program: give the plan with `--digest`, or `--yes` for whatever stands");
        }
        None => {
            let detail = client.incident(&id).await?;
            let proposal = shown(&detail, args.format)?;
            let asked = detail.summary.waiting.is_some() && !args.yes;
            if asked && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
                let question = format!("\napprove plan {}?", proposal.digest.short());
                if !agrees(&question, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())?
                {
                    print("not approved; the question stands\n")?;
                    return Ok(ExitCode::FAILURE);
                }
            }
            // What was shown, whole, so that nothing else is agreed with.
            proposal.digest.to_string().parse().context("the service names no digest")?
        }
    };
    let request = ApproveRequest { digest: Some(digest), reason: args.reason.clone() };
    match client.approve(&id, &request).await {
        Ok(decided) => {
            print_decided(args.format, "approved", &decided)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(ClientError::Refused(problem)) if problem.is("plan-stale") => {
            match args.format {
                Format::Json => print_json(&problem)?,
                Format::Text => stale(&problem)?,
            }
            let _told = writeln!(
                std::io::stderr().lock(),
                "orderly: {}: `orderly approve {id}`",
                ClientError::Refused(problem)
            );
            Ok(ExitCode::from(STALE))
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows the plan that an approval would be about.
fn shown(detail: &IncidentDetail, format: Format) -> anyhow::Result<&ProposalView> {
    let Some(proposal) = &detail.proposal else {
        let (id, standing) = (&detail.summary.id, &detail.summary.standing);
        bail!("incident `{id}` has no plan to approve: {standing}");
    };
    if format == Format::Json {
        return Ok(proposal);
    }
    let mut page = Page::for_stdout();
    let summary = &detail.summary;
    page.title(&format!("incident {}: {} on {}", summary.id, summary.alert, summary.target));
    page.line(&summary.standing);
    story::plan_section(&mut page, proposal);
    page.line(&format!("digest {}", proposal.digest));
    page.print()?;
    Ok(proposal)
}

/// Shows the plan that stands now.
fn stale(problem: &Problem) -> anyhow::Result<()> {
    let mut page = Page::for_stdout();
    let plan = problem.more.get("plan").cloned().unwrap_or_default();
    match serde_json::from_value::<Option<ProposalView>>(plan) {
        Ok(Some(proposal)) => {
            page.title("the plan has changed; this is the new one");
            story::plan_section(&mut page, &proposal);
            page.line(&format!("digest {}", proposal.digest));
        }
        Ok(None) | Err(_) => page.title("the plan has changed; the new one is still being made"),
    }
    Ok(page.print()?)
}

/// Asks; anything but a clear yes is a no.
fn agrees(
    question: &str,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> std::io::Result<bool> {
    write!(output, "{question} [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        for (answer, expected) in
            [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("yikes\n", false)]
        {
            let mut output = Vec::new();
            let agreed = agrees("approve?", &mut answer.as_bytes(), &mut output).expect("answered");
            assert_eq!(agreed, expected, "{answer:?}");
            assert_eq!(output, b"approve? [y/N] ");
        }
    }
}
