//! Which object a command is about, if it is one that is named.

/// One object, instead of the one that the endpoint at the root would choose.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// The binding of an object that is named by --object or --object-id.
    #[arg(long, value_name = "BINDING", value_parser = segment, requires = "which object")]
    binding: Option<String>,
    /// The object's name, such as `wix:user-123` or `2024-01-15`.
    #[arg(
        long,
        value_name = "NAME",
        value_parser = segment,
        requires = "binding",
        group = "which object"
    )]
    object: Option<String>,
    /// The object's id, 64 hexadecimal digits.
    #[arg(
        long,
        value_name = "ID",
        value_parser = segment,
        requires = "binding",
        group = "which object"
    )]
    object_id: Option<String>,
}

/// Reads what is to be one segment of a path.
pub(super) fn segment(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it must not be empty".into()),
        // However they are written, a path has them no more when it is sent.
        "." | ".." => Err("an object of this name can be reached by its id alone".into()),
        _ => Ok(text.to_owned()),
    }
}

impl Target {
    /// The segments of the path of an endpoint, such as `["log", "batch"]`.
    pub(super) fn path(&self, endpoint: &[&str]) -> Vec<String> {
        let (by, which) = match (&self.object, &self.object_id) {
            (Some(name), _) => ("name", name.as_str()),
            (None, Some(id)) => ("id", id.as_str()),
            (None, None) => return endpoint.iter().map(|part| (*part).to_owned()).collect(),
        };
        let binding = self.binding.as_deref().unwrap_or_default();
        ["do", binding, by, which].iter().chain(endpoint).map(|part| (*part).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        target: Target,
    }

    fn path(text: &str) -> Option<String> {
        let words = std::iter::once("command").chain(text.split_whitespace());
        let target = Command::try_parse_from(words).ok()?.target;
        Some(target.path(&["log", "batch"]).join("|"))
    }

    #[test]
    fn an_object_needs_its_binding_and_one_of_its_names() {
        assert_eq!(path("").unwrap(), "log|batch");
        assert_eq!(path("--binding B --object a/b").unwrap(), "do|B|name|a/b|log|batch");
        assert_eq!(path("--binding B --object-id 00ff").unwrap(), "do|B|id|00ff|log|batch");
        for wrong in [
            "--binding B",
            "--object a",
            "--object-id 00",
            "--binding B --object a --object-id 00",
            "--binding B --object ..",
            "--binding . --object a",
            "--binding B --object=",
        ] {
            assert!(path(wrong).is_none(), "{wrong}");
        }
    }
}
