//! Deciding by buttons, dialogues and commands: the same over HTTP and over Socket Mode.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::office::{Office, Terms, Way};

const BOTH: [Way; 2] = [Way::Http, Way::Socket];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_is_the_state_from_the_question_to_the_fix() {
    for way in BOTH {
        let office = Office::open(way).await;
        let id = office.fire(&[]).await;
        let asked = office.message(&id, "Waits for approval").await;
        assert_eq!(asked.controls(), ["approve", "refuse", "snooze", "details"]);
        let text = asked.read();
        for part in [
            "HighErrorRate on ai-agents/Deployment/support-agent-deployment",
            "14 % of support-agent's requests fail",
            "*Severity*\ncritical",
            "the cause is ʼbad-deploymentʼ",
            "3 of 3 pods ready",
            "roll back ai-agents/Deployment/support-agent-deployment from revision 3 to revision 2",
            "+        image: registry.example.com/agents/support-agent:v1.4.1",
            "*Blast radius*: replaces 3 pods of support-agent-deployment, a few at a time",
            "*Next*: Approved, it is carried out at once",
            "<https://runbooks.example.com/high-error-rate|Runbook>",
            "<https://prometheus.example.com/graph?g0.expr=errors&amp;g0.tab=1|Prometheus>",
            "<https://alertmanager.example.com/#/alerts?filter=",
        ] {
            assert!(text.contains(part), "`{part}` is not in\n{text}");
        }
        // The confirmation repeats target and action.
        let confirm = asked.control("approve").unwrap()["confirm"]["text"]["text"].to_string();
        assert!(confirm.contains("support-agent-deployment") && confirm.contains("roll back"));

        office.press("UALICE", &asked, "approve").await;
        let fixed = office.message(&id, "Changed, and proven to have helped").await;
        assert_eq!(fixed.controls(), ["details"], "buttons vanish when they mean nothing");
        assert_eq!(fixed.ts, asked.ts);
        assert_eq!(office.slack.messages().len(), 1, "one message for one incident");
        let told = office.until("the whole story", |office| {
            let thread = office.slack.thread(&fixed);
            let all =
                thread.iter().map(super::workspace::Message::read).collect::<Vec<_>>().join("\n");
            all.contains("whole timeline").then_some(all)
        });
        let told = told.await;
        for part in ["*Evidence*", "alice approved plan", "(slack)", "step 1 done", "fixed:"] {
            assert!(told.contains(part), "`{part}` is not in the thread:\n{told}");
        }
        assert_eq!(office.count(&id, "ApprovalGiven").await, 1);
        office.clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_asks_why_and_the_reason_is_kept() {
    for way in BOTH {
        let office = Office::open(way).await;
        let id = office.fire(&[]).await;
        let asked = office.message(&id, "Waits for approval").await;
        office.press("UBOB", &asked, "refuse").await;
        office.until("a dialogue", |office| office.slack.lock().views.first().cloned()).await;
        // Without a reason the dialogue stays open and says so.
        let wrong = office.deliver_click(&office.slack.submit("UBOB", " ")).await.unwrap();
        assert_eq!(wrong["response_action"], "errors", "{wrong}");
        assert!(wrong["errors"]["reason"].as_str().unwrap().contains("1 to 1000"));
        office.deliver_click(&office.slack.submit("UBOB", "we are <!channel> deploying")).await;
        let refused = office.message(&id, "A person said no").await;
        let text = refused.read();
        assert!(
            text.contains("slack:UBOB refused it: we are &lt;!channel&gt; deploying"),
            "{text}"
        );
        assert_eq!(refused.controls(), ["details"]);
        assert_eq!(office.count(&id, "StepStarted").await, 0);
        office.clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_are_two_people_however_they_come() {
    let office = Office::with(Way::Http, &Terms::quorum(2)).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for 2 approvals").await;
    office.press("UALICE", &asked, "approve").await;
    let half = office.message(&id, "1 of 2 approved").await;
    assert!(half.read().contains("*Approved by*: alice"), "{}", half.read());
    // The same person again, in Slack and by another way, is the same person.
    office.press("UALICE", &half, "approve").await;
    office.whisper("UALICE", "You had said so before").await;
    // Slack's user group lets Carl in.
    office.press("UCARL", &half, "approve").await;
    office.message(&id, "Changed, and proven to have helped").await;
    assert_eq!(office.count(&id, "ApprovalGiven").await, 2);
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_decide_is_told_alone_and_the_journal_has_it() {
    let terms = Terms {
        approval: "{approvers: [sre], byAction: {rollback: [platform]}, expiresAfter: 30m}"
            .to_owned(),
        ..Terms::default()
    };
    let office = Office::with(Way::Http, &terms).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for approval").await;
    assert!(asked.read().contains("*May decide*: platform"), "{}", asked.read());
    // A stranger, one who may only look, and one who may decide on other actions. All have one name.
    for (user, why) in [
        ("UMALLORY", "in none of the groups"),
        ("URITA", "takes the role ʼapproverʼ"),
        ("UBOB", "in none of the groups that may decide: platform"),
    ] {
        office.press(user, &asked, "approve").await;
        office.whisper(user, why).await;
    }
    let mut guest = office.slack.press("UPAULA", &asked, "approve");
    guest["user"]["team_id"] = json!("T9999");
    office.deliver_click(&guest).await;
    office.whisper("UPAULA", "another workspace").await;
    assert_eq!(office.count(&id, "DecisionDenied").await, 4);
    assert_eq!(office.count(&id, "ApprovalGiven").await, 0);
    office.press("UPAULA", &asked, "approve").await;
    office.message(&id, "Changed, and proven to have helped").await;
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snooze_holds_the_question_and_ask_now_ends_it() {
    let office = Office::open(Way::Socket).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for approval").await;
    office.press("UBOB", &asked, "snooze").await;
    let asleep = office.message(&id, "slack:UBOB put it off until").await;
    assert_eq!(asleep.controls(), ["ask-now", "abort", "details"]);
    office.press("UBOB", &asleep, "ask-now").await;
    let again = office.message(&id, "Waits for approval").await;
    // The old button is about the same plan, which is asked about again: it counts.
    let old = office.slack.press("UALICE", &asked, "approve");
    office.deliver_click(&old).await;
    office.message(&id, "Changed, and proven to have helped").await;
    assert_eq!(again.ts, asked.ts);
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_on_a_stale_plan_shows_the_new_one() {
    let office = Office::open(Way::Http).await;
    let id = office.fire(&[]).await;
    let asked = office.message(&id, "Waits for approval").await;
    // Somebody changes the object: its generation moves, and with it the plan's digest.
    let change = json!({"spec": {"minReadySeconds": 1}});
    let patched =
        office.sandbox.patch("deployments", "ai-agents", "support-agent-deployment", &change);
    patched.unwrap();
    office.press("UALICE", &asked, "approve").await;
    office.whisper("UALICE", "the plan was made again").await;
    let again = office.message(&id, "The target changed, so it was planned again").await;
    assert_eq!(office.count(&id, "ApprovalGiven").await, 0);
    // The button of the old message no longer opens the new plan.
    let old = asked.control("approve").unwrap()["value"].clone();
    assert_ne!(again.control("approve").unwrap()["value"], old);
    office.deliver_click(&office.slack.press_value("UALICE", &asked, "approve", &old)).await;
    office
        .until("a second whisper", |office| {
            (office.slack.whispers("UALICE").len() >= 2).then_some(())
        })
        .await;
    assert_eq!(office.count(&id, "ApprovalGiven").await, 0);
    office.press("UALICE", &again, "approve").await;
    office.message(&id, "Changed, and proven to have helped").await;
    office.clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_do_what_buttons_do_under_the_same_authorisation() {
    for way in BOTH {
        let office = Office::open(way).await;
        let id = office.fire(&[]).await;
        let asked = office.message(&id, "Waits for approval").await;
        let say = async |user: &str, text: &str| {
            let answer = office.deliver_click(&office.slack.command(user, text)).await.unwrap();
            assert_eq!(answer["response_type"], "ephemeral");
            answer["text"].as_str().unwrap().to_owned()
        };
        let stranger = say("UMALLORY", "status").await;
        assert!(stranger.contains("none of the groups") && !stranger.contains("open incidents"));
        assert!(say("URITA", "status").await.contains("1 open incidents, 1 wait for a person"));
        assert!(say("URITA", "incidents").await.contains(id.as_str()));
        assert!(say("UBOB", "").await.contains("/orderly approve ID PLAN"));
        assert!(say("UBOB", "dance").await.contains("there is no command ʼdanceʼ"));
        assert!(say("UBOB", &format!("refuse {id}")).await.contains("say why"));
        assert!(say("UBOB", &format!("approve {id}")).await.contains("say which plan"));
        // A wrong plan approves nothing; who may only look decides nothing.
        say("UBOB", &format!("approve {id} ffffffffffff")).await;
        office.whisper("UBOB", "the plan was made again").await;
        let plan = asked.read();
        let plan = plan.rsplit("plan ").next().unwrap().split(' ').next().unwrap();
        say("URITA", &format!("approve {id} {plan}")).await;
        office.whisper("URITA", "takes the role").await;
        say("UBOB", "kill-switch on deploy freeze").await;
        office.whisper("UBOB", "takes the role ʼadminʼ").await;
        say("UPAULA", "kill-switch on deploy freeze").await;
        office.whisper("UPAULA", "The kill switch is on").await;
        assert!(say("URITA", "status").await.contains("slack:UPAULA: deploy freeze"));
        say("UPAULA", "kill-switch off done").await;
        office.whisper("UPAULA", "The kill switch is off").await;
        say("UBOB", &format!("approve {id} {plan}")).await;
        office.message(&id, "Changed, and proven to have helped").await;
        office.clean();
    }
}
