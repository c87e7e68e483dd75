//! Configuration from environment variables.

use std::ffi::OsString;
use std::fmt;

/// Where the variables come from: the process environment, or a table in a test.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What the service needs to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// TCP port to listen on, on every address (`APP_PORT`).
    pub port: u16,
    /// The version that `/version` answers (`APP_VERSION`).
    pub version: String,
    /// Scheme and host of service A (`SERVICE_A_HOST`), for example `http://127.0.0.1`.
    pub service_a_host: String,
    /// TCP port of service A (`SERVICE_A_PORT`).
    pub service_a_port: u16,
}

/// A variable whose value cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the variable.
    pub variable: &'static str,
    /// Its value, made printable.
    pub value: String,
    /// What would have been right.
    pub expected: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}: expected {}", self.variable, self.value, self.expected)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the configuration; the first unusable variable is the error.
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            port: port(lookup, "APP_PORT", 8012)?,
            version: text(lookup, "APP_VERSION", "local-run")?,
            service_a_host: host(lookup, "SERVICE_A_HOST", "http://127.0.0.1")?,
            service_a_port: port(lookup, "SERVICE_A_PORT", 8011)?,
        })
    }
}

/// The value of `variable`, or `default` when it is unset or empty.
fn text(lookup: Lookup<'_>, variable: &'static str, default: &str) -> Result<String, ConfigError> {
    match lookup(variable) {
        None => Ok(default.to_owned()),
        Some(value) => match value.into_string() {
            Ok(value) if value.is_empty() => Ok(default.to_owned()),
            Ok(value) => Ok(value),
            Err(raw) => {
                Err(ConfigError { variable, value: raw.to_string_lossy().into_owned(), expected: "UTF-8 text" })
            }
        },
    }
}

fn port(lookup: Lookup<'_>, variable: &'static str, default: u16) -> Result<u16, ConfigError> {
    let Some(raw) = lookup(variable) else {
        return Ok(default);
    };
    let value = raw.to_string_lossy().into_owned();
    match value.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ConfigError { variable, value, expected: "a port number from 1 to 65535" }),
    }
}

/// A plain-HTTP scheme and host, without port, path or trailing slash.
fn host(lookup: Lookup<'_>, variable: &'static str, default: &str) -> Result<String, ConfigError> {
    let value = text(lookup, variable, default)?;
    let authority = value.strip_prefix("http://").and_then(|rest| {
        let authority = rest.parse::<axum::http::uri::Authority>().ok()?;
        let bare = authority.port().is_none() && !rest.contains('@');
        bare.then_some(authority)
    });
    match authority {
        Some(authority) => Ok(format!("http://{authority}")),
        None => Err(ConfigError {
            variable,
            value,
            expected: "a scheme and a host without port or path, such as http://127.0.0.1",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn defaults() {
        let expected = Config {
            port: 8012,
            version: "local-run".to_owned(),
            service_a_host: "http://127.0.0.1".to_owned(),
            service_a_port: 8011,
        };
        assert_eq!(read(&[]), Ok(expected));
    }

    #[test]
    fn versions_that_look_like_numbers_stay_text() {
        for version in ["1234567", "12e4567", "0755000", "v1.2.3"] {
            assert_eq!(read(&[("APP_VERSION", version)]).unwrap().version, version);
        }
    }

    #[test]
    fn a_host_is_a_scheme_and_a_name() {
        for value in ["http://127.0.0.1", "http://a.ns.svc.cluster.local", "http://[::1]"] {
            assert_eq!(read(&[("SERVICE_A_HOST", value)]).unwrap().service_a_host, value);
        }
        for value in ["a", "127.0.0.1", "https://a", "http://", "http://a:80", "http://a/", "http://u@a", "http://a b"]
        {
            let error = read(&[("SERVICE_A_HOST", value)]).unwrap_err();
            assert_eq!((error.variable, error.value.as_str()), ("SERVICE_A_HOST", value));
        }
        assert_eq!(read(&[("SERVICE_A_PORT", "x")]).unwrap_err().variable, "SERVICE_A_PORT");
    }

    #[test]
    fn a_bad_port_names_the_variable_and_the_value() {
        for value in ["", "http", "0", "-1", "65536", "80 ", "8011.0"] {
            let error = read(&[("APP_PORT", value)]).unwrap_err();
            assert_eq!(error.to_string(), format!("APP_PORT={value:?}: expected a port number from 1 to 65535"));
        }
        assert_eq!(read(&[("APP_PORT", "65535")]).unwrap().port, 65535);
    }
}
