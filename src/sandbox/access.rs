//! Who may do what: identities behind bearer tokens, and their rules.
//!
//! Without identities the cluster is open, which is right on loopback and for the demo.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::object::{items, text};

/// One rule of an identity. Empty lists mean "none"; `*` means "all".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Namespaces; `*` also covers cluster-scoped objects and questions over all namespaces.
    pub namespaces: Vec<String>,
    /// API groups; the core group is the empty text.
    pub groups: Vec<String>,
    /// Plurals, with the subresource after a slash: `deployments/scale`.
    pub resources: Vec<String>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, or any other word.
    pub verbs: Vec<String>,
    /// Only objects with these names; empty: any name.
    pub names: Vec<String>,
}

impl Rule {
    /// A rule over words that are separated by commas.
    pub fn new(namespaces: &str, groups: &str, resources: &str, verbs: &str) -> Self {
        let split = |words: &str| words.split(',').map(|word| word.trim().to_owned()).collect();
        Self {
            namespaces: split(namespaces),
            groups: split(groups),
            resources: split(resources),
            verbs: split(verbs),
            names: Vec::new(),
        }
    }

    fn allows(&self, wanted: &Attributes<'_>) -> bool {
        let fits = |list: &[String], word: &str| list.iter().any(|own| own == "*" || own == word);
        fits(&self.namespaces, wanted.namespace)
            && fits(&self.groups, wanted.group)
            && fits(&self.resources, &wanted.resource_path())
            && fits(&self.verbs, wanted.verb)
            && (self.names.is_empty() || self.names.iter().any(|own| own == wanted.name))
    }
}

/// Somebody who comes with a bearer token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, such as `system:serviceaccount:orderly:orderly`.
    pub user: String,
    /// The groups, without the automatic ones.
    pub groups: Vec<String>,
    /// What it may do.
    pub rules: Vec<Rule>,
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes<'a> {
    pub(super) verb: &'a str,
    pub(super) group: &'a str,
    pub(super) resource: &'a str,
    pub(super) subresource: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl Attributes<'_> {
    fn resource_path(&self) -> String {
        match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }

    /// Why not, in the API server's words.
    pub(super) fn refusal(&self, user: &str) -> String {
        let place = match self.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        format!(
            "User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            self.verb,
            self.resource_path(),
            self.group
        )
    }
}

/// Who a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// The cluster is open.
    Anyone,
    Known(String),
    Unknown,
}

/// The identities of the cluster, by token.
#[derive(Debug, Clone, Default)]
pub(super) struct Access {
    by_token: BTreeMap<String, Identity>,
}

impl Access {
    pub(super) fn admit(&mut self, token: &str, identity: Identity) {
        self.by_token.insert(token.to_owned(), identity);
    }

    /// Whose token it is. Requests without a token are the administrator's, as long as the
    /// scenario does not say otherwise by giving the empty token an identity.
    pub(super) fn caller(&self, token: Option<&str>) -> Caller {
        let token = token.unwrap_or_default();
        match self.by_token.get(token) {
            Some(identity) => Caller::Known(identity.user.clone()),
            None if token.is_empty() || self.by_token.is_empty() => Caller::Anyone,
            None => Caller::Unknown,
        }
    }

    pub(super) fn allows(&self, user: &str, groups: &[&str], wanted: &Attributes<'_>) -> bool {
        self.by_token
            .values()
            .filter(|identity| {
                identity.user == user
                    || identity.groups.iter().any(|own| groups.contains(&own.as_str()))
            })
            .any(|identity| identity.rules.iter().any(|rule| rule.allows(wanted)))
    }

    /// May the caller do this? Everybody may ask what they may do.
    pub(super) fn permits(&self, caller: &Caller, wanted: &Attributes<'_>) -> bool {
        match caller {
            Caller::Anyone => true,
            Caller::Unknown => false,
            Caller::Known(user) => {
                wanted.resource.starts_with("selfsubject") || self.allows(user, &[], wanted)
            }
        }
    }

    /// Answers the review objects of the authentication and authorization groups.
    pub(super) fn review(&self, plural: &str, caller: &Caller, mut review: Value) -> Value {
        match plural {
            "selfsubjectaccessreviews" => {
                let attributes = resource_attributes(&review);
                let allowed = self.permits(caller, &attributes);
                let mut status = json!({"allowed": allowed});
                if let (false, Caller::Known(user)) = (allowed, caller) {
                    status["reason"] = json!(attributes.refusal(user));
                }
                review["status"] = status;
            }
            "subjectaccessreviews" => {
                let groups: Vec<&str> =
                    items(&review, "/spec/groups").iter().filter_map(Value::as_str).collect();
                let user = text(&review, "/spec/user");
                let allowed = self.allows(user, &groups, &resource_attributes(&review));
                review["status"] = json!({"allowed": allowed});
            }
            "selfsubjectrulesreviews" => review["status"] = self.rules_of(caller),
            _ => {
                let identity = self.by_token.get(text(&review, "/spec/token"));
                review["status"] = match identity {
                    Some(identity) => {
                        let mut groups = identity.groups.clone();
                        groups.push("system:authenticated".into());
                        let mut status = json!({
                            "authenticated": true,
                            "user": {"username": identity.user, "groups": groups},
                        });
                        if let Some(audiences) = review.pointer("/spec/audiences") {
                            status["audiences"] = audiences.clone();
                        }
                        status
                    }
                    None => {
                        json!({"authenticated": false, "user": {}, "error": "invalid bearer token"})
                    }
                };
            }
        }
        review
    }

    fn rules_of(&self, caller: &Caller) -> Value {
        let rules: Vec<Value> = match caller {
            Caller::Anyone => vec![json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})],
            Caller::Unknown => Vec::new(),
            Caller::Known(user) => self
                .by_token
                .values()
                .filter(|identity| identity.user == *user)
                .flat_map(|identity| &identity.rules)
                .map(|rule| {
                    json!({
                        "verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources,
                        "resourceNames": rule.names,
                    })
                })
                .collect(),
        };
        json!({"incomplete": false, "resourceRules": rules, "nonResourceRules": []})
    }
}

fn resource_attributes(review: &Value) -> Attributes<'_> {
    let part = |field: &str| text(review, &format!("/spec/resourceAttributes/{field}"));
    Attributes {
        verb: part("verb"),
        group: part("group"),
        resource: part("resource"),
        subresource: part("subresource"),
        namespace: part("namespace"),
        name: part("name"),
    }
}
