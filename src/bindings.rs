//! Bindings: the names under which clients know namespaces of objects.
//!
//! Read from a `wrangler.toml` as it stands, with wrangler's own rules: an environment's bindings
//! replace the top level's, its migrations stand in for them only where it has some, and its
//! script is `{name}-{environment}` unless it is named. Whatever else is in the file is wrangler's
//! own business and not looked at.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::limits;
use crate::machine::Namespace;

/// What the objects of a namespace are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Guide, "Rate Limiter".
    RateLimiter,
    /// Guide, "Audit Logger".
    AuditLogger,
}

impl Class {
    /// The class's name in the guide, and in `class_name`.
    pub fn name(self) -> &'static str {
        match self {
            Class::RateLimiter => "RateLimiter",
            Class::AuditLogger => "AuditLogger",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Class::RateLimiter, Class::AuditLogger].into_iter().find(|class| class.name() == name)
    }
}

/// A name for a namespace.
#[derive(Clone, Debug)]
pub struct Binding {
    /// `RATE_LIMITER`, as in `env.RATE_LIMITER` and `/do/RATE_LIMITER/…`.
    pub name: String,
    /// What its objects are.
    pub class: Class,
    /// `{script_name}-{class_name}`, from which the ids of objects are derived.
    pub unique_key: String,
    /// The namespace of that key.
    pub namespace: Namespace,
}

/// All bindings of a cluster, in the order in which they were written.
#[derive(Clone, Debug)]
pub struct Bindings {
    list: Vec<Binding>,
}

/// Why a `wrangler.toml` cannot be used, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BindingsError(String);

type Result<T> = std::result::Result<T, BindingsError>;

impl Bindings {
    /// The guide's two bindings, of classes in `script_name`.
    pub fn default_for(script_name: &str) -> Self {
        let list = vec![
            binding("RATE_LIMITER".into(), Class::RateLimiter, script_name),
            binding("AUDIT_LOGGER".into(), Class::AuditLogger, script_name),
        ];
        Self { list }
    }

    /// The bindings of a `wrangler.toml`, for one of its environments or its top level.
    ///
    /// # Errors
    /// If the text is not TOML of this form, if there is no such environment or it binds nothing,
    /// and if a binding is there twice, or is of a class that is neither of the guide's or that
    /// no migration of its script has created.
    pub fn from_wrangler(text: &str, environment: Option<&str>) -> Result<Self> {
        let file: WranglerFile =
            toml::from_str(text).map_err(|error| refused(error.to_string()))?;
        let script = file.script(environment)?;
        let declared = script.bindings;
        if declared.is_empty() {
            let place = environment.map_or("the top level".into(), |name| format!("[env.{name}]"));
            return Err(refused(format!("{place} has no durable_objects.bindings")));
        }
        let classes = Classes::after(&script.migrations);
        let mut list: Vec<Binding> = Vec::with_capacity(declared.len());
        for one in declared {
            let name = one.name;
            if name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
                let most = limits::NAME_BYTES_MAX;
                return Err(refused(format!("a binding's name must have 1 to {most} bytes")));
            }
            if list.iter().any(|other| other.name == name) {
                return Err(refused(format!("the binding {name} is there twice")));
            }
            let class = Class::from_name(&one.class_name).ok_or_else(|| {
                refused(format!(
                    "the binding {name} is of the class {}; there are RateLimiter and AuditLogger",
                    one.class_name
                ))
            })?;
            classes.check(&name, class, one.script_name.as_deref(), script.name.as_deref())?;
            let script_name = one.script_name.or_else(|| script.name.clone()).ok_or_else(|| {
                refused(format!("the binding {name} has no script_name, and the file no name"))
            })?;
            list.push(binding(name, class, &script_name));
        }
        Ok(Self { list })
    }

    /// The binding of this name.
    pub fn get(&self, name: &str) -> Option<&Binding> {
        self.list.iter().find(|binding| binding.name == name)
    }

    /// All bindings, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.list.iter()
    }

    /// The binding that the root's `/check` and `/reset` use: `RATE_LIMITER`, if it is a limiter,
    /// or else the first that is one.
    pub fn limiter(&self) -> Option<&Binding> {
        self.root("RATE_LIMITER", Class::RateLimiter)
    }

    /// The binding that the root's `/log`, `/query` and `/export` use: `AUDIT_LOGGER`, if it is an
    /// audit log, or else the first that is one.
    pub fn audit(&self) -> Option<&Binding> {
        self.root("AUDIT_LOGGER", Class::AuditLogger)
    }

    fn root(&self, preferred: &str, class: Class) -> Option<&Binding> {
        self.get(preferred)
            .filter(|binding| binding.class == class)
            .or_else(|| self.list.iter().find(|binding| binding.class == class))
    }
}

fn binding(name: String, class: Class, script_name: &str) -> Binding {
    let unique_key = format!("{script_name}-{}", class.name());
    let namespace = Namespace::new(&unique_key);
    Binding { name, class, unique_key, namespace }
}

fn refused(message: impl Into<String>) -> BindingsError {
    BindingsError(message.into())
}

/// The part of a `wrangler.toml` that is looked at.
#[derive(Deserialize)]
struct WranglerFile {
    #[serde(flatten)]
    top: WranglerScript,
    #[serde(default)]
    env: BTreeMap<String, WranglerScript>,
}

/// The top level, or one environment.
#[derive(Deserialize)]
struct WranglerScript {
    name: Option<String>,
    #[serde(default)]
    durable_objects: DurableObjects,
    migrations: Option<Vec<Migration>>,
}

#[derive(Default, Deserialize)]
struct DurableObjects {
    #[serde(default)]
    bindings: Vec<WranglerBinding>,
}

#[derive(Deserialize)]
struct WranglerBinding {
    name: String,
    class_name: String,
    script_name: Option<String>,
}

/// One step in the history of a script's classes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Migration {
    new_classes: Vec<String>,
    new_sqlite_classes: Vec<String>,
    renamed_classes: Vec<Renamed>,
    transferred_classes: Vec<Transferred>,
    deleted_classes: Vec<String>,
}

#[derive(Deserialize)]
struct Renamed {
    from: String,
    to: String,
}

#[derive(Deserialize)]
struct Transferred {
    to: String,
}

/// A script as one environment deploys it.
struct Script {
    name: Option<String>,
    bindings: Vec<WranglerBinding>,
    migrations: Vec<Migration>,
}

impl WranglerFile {
    fn script(mut self, environment: Option<&str>) -> Result<Script> {
        let Some(environment) = environment else {
            return Ok(Script {
                name: self.top.name,
                bindings: self.top.durable_objects.bindings,
                migrations: self.top.migrations.unwrap_or_default(),
            });
        };
        let own = self.env.remove(environment).ok_or_else(|| {
            let known: Vec<_> = self.env.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            refused(format!("there is no [env.{environment}]; there are: {known}"))
        })?;
        Ok(Script {
            name: own.name.or_else(|| Some(format!("{}-{environment}", self.top.name?))),
            bindings: own.durable_objects.bindings,
            migrations: own.migrations.or(self.top.migrations).unwrap_or_default(),
        })
    }
}

/// What became of a script's classes.
#[derive(Default)]
struct Classes {
    living: BTreeSet<String>,
    /// Deleted, or renamed to something else.
    gone: BTreeSet<String>,
}

impl Classes {
    fn after(migrations: &[Migration]) -> Self {
        let mut classes = Self::default();
        for migration in migrations {
            let renamed = &migration.renamed_classes;
            migration.deleted_classes.iter().for_each(|name| classes.end(name));
            renamed.iter().for_each(|step| classes.end(&step.from));
            renamed.iter().for_each(|step| classes.begin(&step.to));
            migration.transferred_classes.iter().for_each(|step| classes.begin(&step.to));
            migration.new_classes.iter().for_each(|name| classes.begin(name));
            migration.new_sqlite_classes.iter().for_each(|name| classes.begin(name));
        }
        classes
    }

    fn begin(&mut self, name: &str) {
        self.gone.remove(name);
        self.living.insert(name.to_owned());
    }

    fn end(&mut self, name: &str) {
        self.living.remove(name);
        self.gone.insert(name.to_owned());
    }

    /// Checks that a class that is bound is there. Of another script's classes nothing is known;
    /// the guide's own file, which has no `name`, has its classes in "another" script and creates
    /// them in its migrations all the same.
    fn check(
        &self,
        binding: &str,
        class: Class,
        script_name: Option<&str>,
        own_name: Option<&str>,
    ) -> Result<()> {
        let class = class.name();
        let own = script_name.is_none() || script_name == own_name;
        if (own || own_name.is_none()) && self.gone.contains(class) {
            return Err(refused(format!(
                "the binding {binding} is of the class {class}, which a migration takes away"
            )));
        }
        if own && !self.living.contains(class) {
            return Err(refused(format!(
                "the binding {binding} is of the class {class}, which no migration creates"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guide, "wrangler.toml Configuration", both of its parts.
    const GUIDE: &str = r#"
        # Durable Objects bindings
        [[durable_objects.bindings]]
        name = "RATE_LIMITER"
        class_name = "RateLimiter"
        script_name = "wix-gamma-integration"

        [[durable_objects.bindings]]
        name = "AUDIT_LOGGER"
        class_name = "AuditLogger"
        script_name = "wix-gamma-integration"

        # Migrations
        [[migrations]]
        tag = "v1"
        new_classes = ["RateLimiter", "AuditLogger"]

        [env.production]
        # ...

        [[env.production.durable_objects.bindings]]
        name = "RATE_LIMITER"
        class_name = "RateLimiter"
        script_name = "wix-gamma-integration-prod"

        [[env.production.durable_objects.bindings]]
        name = "AUDIT_LOGGER"
        class_name = "AuditLogger"
        script_name = "wix-gamma-integration-prod"
    "#;

    /// A script with both classes of its own, followed by `rest`.
    fn own(rest: &str) -> String {
        format!(
            r#"
            name = "gate"
            main = "src/index.ts"
            compatibility_date = "2024-01-01"
            kv_namespaces = [{{ binding = "KV", id = "1" }}]
            durable_objects.bindings = [
                {{ name = "LIMITS", class_name = "RateLimiter" }},
                {{ name = "LOG", class_name = "AuditLogger" }},
            ]
            {rest}
            "#
        )
    }

    const MIGRATIONS: &str = r#"
        [[migrations]]
        tag = "v1"
        new_classes = ["RateLimiter"]
        new_sqlite_classes = ["AuditLogger"]
    "#;

    fn keys(text: &str, environment: Option<&str>) -> Vec<(String, String)> {
        let bindings = Bindings::from_wrangler(text, environment).unwrap();
        bindings.iter().map(|one| (one.name.clone(), one.unique_key.clone())).collect()
    }

    fn refusal(text: &str, environment: Option<&str>) -> String {
        Bindings::from_wrangler(text, environment).unwrap_err().to_string()
    }

    fn pairs(list: [(&str, &str); 2]) -> Vec<(String, String)> {
        list.map(|(name, key)| (name.to_owned(), key.to_owned())).into()
    }

    #[test]
    fn the_guides_file_is_read_as_it_stands() {
        let top = pairs([
            ("RATE_LIMITER", "wix-gamma-integration-RateLimiter"),
            ("AUDIT_LOGGER", "wix-gamma-integration-AuditLogger"),
        ]);
        assert_eq!(keys(GUIDE, None), top);
        let production = pairs([
            ("RATE_LIMITER", "wix-gamma-integration-prod-RateLimiter"),
            ("AUDIT_LOGGER", "wix-gamma-integration-prod-AuditLogger"),
        ]);
        assert_eq!(keys(GUIDE, Some("production")), production);
        let bindings = Bindings::from_wrangler(GUIDE, None).unwrap();
        let default = Bindings::default_for("wix-gamma-integration");
        for (one, other) in bindings.iter().zip(default.iter()) {
            assert_eq!(one.namespace, other.namespace);
            assert_eq!((&one.name, one.class), (&other.name, other.class));
        }
    }

    #[test]
    fn a_class_without_a_script_name_is_the_files_own() {
        let text = own(MIGRATIONS);
        let top = pairs([("LIMITS", "gate-RateLimiter"), ("LOG", "gate-AuditLogger")]);
        assert_eq!(keys(&text, None), top);
    }

    #[test]
    fn an_environment_is_a_script_of_its_own() {
        let staging = r#"
            [env.staging]
            durable_objects.bindings = [{ name = "LIMITS", class_name = "RateLimiter" }]
            [env.named]
            name = "other"
            durable_objects.bindings = [{ name = "LIMITS", class_name = "RateLimiter" }]
            [env.empty]
        "#;
        let text = own(&format!("{MIGRATIONS}{staging}"));
        let key = |environment| keys(&text, Some(environment))[0].1.clone();
        assert_eq!(key("staging"), "gate-staging-RateLimiter");
        assert_eq!(key("named"), "other-RateLimiter");
        // As in wrangler, bindings are not inherited.
        assert!(refusal(&text, Some("empty")).contains("[env.empty]"));
        let unknown = refusal(&text, Some("prod"));
        assert!(unknown.contains("[env.prod]") && unknown.contains("staging"), "{unknown}");
    }

    #[test]
    fn the_roots_bindings_are_the_guides_if_they_are_there() {
        let text = r#"
            name = "gate"
            [durable_objects]
            bindings = [
                { name = "RATE_LIMITER_PROD", class_name = "RateLimiter", script_name = "prod" },
                { name = "RATE_LIMITER", class_name = "RateLimiter", script_name = "dev" },
            ]
        "#;
        let bindings = Bindings::from_wrangler(text, None).unwrap();
        assert_eq!(bindings.limiter().unwrap().unique_key, "dev-RateLimiter");
        assert!(bindings.audit().is_none());
        let own = Bindings::from_wrangler(&own(MIGRATIONS), None).unwrap();
        assert_eq!(own.limiter().unwrap().name, "LIMITS");
        assert_eq!(own.audit().unwrap().name, "LOG");
    }

    #[test]
    fn a_class_must_be_there_after_all_migrations() {
        assert!(refusal(&own(""), None).contains("no migration creates"));
        let deleted = own(&format!(
            "{MIGRATIONS}[[migrations]]\ntag = \"v2\"\ndeleted_classes = [\"AuditLogger\"]"
        ));
        assert!(refusal(&deleted, None).contains("a migration takes away"));
        let away = r#"renamed_classes = [{ from = "RateLimiter", to = "Old" }]"#;
        let renamed = own(&format!("{MIGRATIONS}[[migrations]]\ntag = \"v2\"\n{away}"));
        assert!(refusal(&renamed, None).contains("a migration takes away"));
        let back = own(r#"
            [[migrations]]
            tag = "v1"
            new_classes = ["Limiter", "AuditLogger"]
            [[migrations]]
            tag = "v2"
            renamed_classes = [{ from = "Limiter", to = "RateLimiter" }]
            "#);
        assert_eq!(keys(&back, None).len(), 2);
        let guide = format!("{GUIDE}\n[[migrations]]\ndeleted_classes = [\"AuditLogger\"]");
        assert!(refusal(&guide, None).contains("a migration takes away"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(refusal("name = ", None).contains("TOML"));
        assert!(refusal("name = \"gate\"", None).contains("no durable_objects.bindings"));
        let one = r#"[[durable_objects.bindings]]
            name = "A"
            class_name = "RateLimiter"
            script_name = "gate"
            "#;
        assert!(refusal(&one.repeat(2), None).contains("A is there twice"));
        let unknown = one.replace("RateLimiter", "Counter");
        assert!(refusal(&unknown, None).contains("Counter"));
        let nameless = one.replace("script_name = \"gate\"", "");
        let nameless = format!("{nameless}[[migrations]]\nnew_classes = [\"RateLimiter\"]");
        assert!(refusal(&nameless, None).contains("no script_name"));
    }
}
