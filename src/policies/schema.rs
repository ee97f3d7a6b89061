//! The JSON Schema of a policy, for editors and for the check of a policy's shape.

use serde_json::Value;

use crate::document::schema_of;
use crate::domain::policy::spec::PolicyDocument;

/// The schema of a policy (draft 2020-12).
pub fn policy_schema() -> Value {
    schema_of::<PolicyDocument>()
}

/// The schema as it is committed beside the policies.
pub fn policy_schema_text() -> String {
    format!("{:#}\n", policy_schema())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_current() {
        let committed = include_str!("../../policies/remediationpolicy.schema.json");
        let hint = "run `orderly schema > policies/remediationpolicy.schema.json`";
        assert_eq!(committed, policy_schema_text(), "{hint}");
    }
}
