//! Names as the API server accepts them: the guard between a label and a path.

use std::fmt;

/// RFC 1123 label, for namespaces and most names.
const MAX_LABEL: usize = 63;
/// RFC 1123 subdomain, for the names of most objects.
const MAX_SUBDOMAIN: usize = 253;

/// A name that the API server would accept as the last part of a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesName(String);

impl KubernetesName {
    /// Checks the name of an object: an RFC 1123 subdomain.
    pub fn object(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() {
            return Err("it is empty");
        }
        if name.len() > MAX_SUBDOMAIN {
            return Err("it is longer than 253 characters");
        }
        name.split('.').try_for_each(dns_part)?;
        Ok(Self(name.to_owned()))
    }

    /// Checks the name of a namespace: an RFC 1123 label.
    pub fn namespace(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() {
            return Err("it is empty");
        }
        if name.len() > MAX_LABEL {
            return Err("it is longer than 63 characters");
        }
        dns_part(name)?;
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KubernetesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KubernetesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn dns_part(part: &str) -> Result<(), &'static str> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !part.bytes().all(|byte| inner(byte) || byte == b'-') {
        return Err("only lower-case letters, digits and `-` may be in it");
    }
    match (part.bytes().next(), part.bytes().last()) {
        (Some(first), Some(last)) if inner(first) && inner(last) => Ok(()),
        _ => Err("each part must begin and end with a letter or a digit"),
    }
}

/// Checks the value of a Kubernetes label.
pub fn label_value(value: &str) -> Result<(), &'static str> {
    if value.len() > MAX_LABEL {
        return Err("it is longer than 63 characters");
    }
    let outer = |byte: u8| byte.is_ascii_alphanumeric();
    if !value.bytes().all(|byte| outer(byte) || matches!(byte, b'-' | b'_' | b'.')) {
        return Err("only letters, digits, `-`, `_` and `.` may be in it");
    }
    match (value.bytes().next(), value.bytes().last()) {
        (Some(first), Some(last)) if !outer(first) || !outer(last) => {
            Err("it must begin and end with a letter or a digit")
        }
        _ => Ok(()),
    }
}
