//! Bindings: the names under which clients know namespaces of objects.
//!
//! Read from a `wrangler.toml` as it stands, with wrangler's own rules: an environment's bindings
//! replace the top level's, its migrations stand in for them only where it has some, and its
//! script is `{name}-{environment}` unless it is named. Whatever else is in the file is wrangler's
//! own business and not looked at.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::limits;
use crate::machine::{Namespace, ObjectRef};

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

    /// The names of all classes, for errors.
    pub const ALL_NAMES: &str = "RateLimiter and AuditLogger";

    /// The class of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Class::RateLimiter, Class::AuditLogger].into_iter().find(|class| class.name() == name)
    }
}

/// The name of the object in which nodes record what is done with the cluster.
pub const RECORD: &str = "tallykeep.system";

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

/// A class that a migration takes away: what is there of it cannot be reached by any binding.
#[derive(Clone, Debug)]
pub struct Gone {
    /// What its objects are.
    pub class: Class,
    /// As of a [`Binding`].
    pub unique_key: String,
    /// The namespace of that key.
    pub namespace: Namespace,
    /// The migration that takes it away, as in `[[migrations]] "v2"`.
    pub migration: String,
}

/// All bindings of a cluster, in the order in which they were written.
#[derive(Clone, Debug)]
pub struct Bindings {
    list: Vec<Binding>,
    gone: Vec<Gone>,
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
        Self { list, gone: Vec::new() }
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
        let classes = Classes::after(&script.migrations, &script.migrations_table);
        let gone = classes.gone(&script);
        let declared = script.bindings;
        let table = match environment {
            Some(name) => format!("[[env.{name}.durable_objects.bindings]]"),
            None => "[[durable_objects.bindings]]".to_owned(),
        };
        if declared.is_empty() {
            let hint = match environment {
                Some(_) => ": an environment does not inherit the top level's",
                None => "",
            };
            return Err(refused(format!("there is no {table}{hint}")));
        }
        let mut list: Vec<Binding> = Vec::with_capacity(declared.len());
        for one in declared {
            let name = one.name;
            if name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
                let most = limits::NAME_BYTES_MAX;
                return Err(refused(format!("{table}: a name must have 1 to {most} bytes")));
            }
            if list.iter().any(|other| other.name == name) {
                return Err(refused(format!("{table}: the binding {name} is there twice")));
            }
            let class = Class::from_name(&one.class_name).ok_or_else(|| {
                refused(format!(
                    "{table}: the binding {name} is of the class {}; there are {}",
                    one.class_name,
                    Class::ALL_NAMES,
                ))
            })?;
            if one.environment.is_some() {
                return Err(refused(format!(
                    "{table}: the binding {name} has an environment; name the script that it is \
                     deployed as instead: script_name = \"SCRIPT-ENVIRONMENT\""
                )));
            }
            classes
                .check(class, one.script_name.as_deref(), script.name.as_deref())
                .map_err(|why| refused(format!("{table}: the binding {name} {why}")))?;
            let script_name = one.script_name.or_else(|| script.name.clone()).ok_or_else(|| {
                refused(format!(
                    "{table}: the binding {name} has no script_name, and the file no name"
                ))
            })?;
            list.push(binding(name, class, &script_name));
        }
        Ok(Self { list, gone })
    }

    /// The same, with these classes given up: what is there of them is nobody's concern.
    #[must_use]
    pub fn abandoning(mut self, classes: &[String]) -> Self {
        self.gone.retain(|gone| classes.iter().all(|name| name != gone.class.name()));
        self
    }

    /// The classes that a migration takes away, and that are not given up.
    pub fn gone(&self) -> &[Gone] {
        &self.gone
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

    /// The object in which nodes record what is done with the cluster, if there is an audit log.
    pub fn record(&self) -> Option<ObjectRef> {
        self.audit().map(|binding| binding.namespace.object(RECORD))
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
    environment: Option<String>,
}

/// One step in the history of a script's classes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Migration {
    tag: Option<String>,
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
    /// Where they stand.
    migrations_table: String,
}

impl WranglerFile {
    fn script(mut self, environment: Option<&str>) -> Result<Script> {
        let Some(environment) = environment else {
            return Ok(Script {
                name: self.top.name,
                bindings: self.top.durable_objects.bindings,
                migrations: self.top.migrations.unwrap_or_default(),
                migrations_table: "[[migrations]]".to_owned(),
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
            migrations_table: match &own.migrations {
                Some(_) => format!("[[env.{environment}.migrations]]"),
                None => "[[migrations]]".to_owned(),
            },
            migrations: own.migrations.or(self.top.migrations).unwrap_or_default(),
        })
    }
}

/// What became of a script's classes.
#[derive(Default)]
struct Classes {
    living: BTreeSet<String>,
    /// Deleted, or renamed to something else, and by which migration.
    gone: BTreeMap<String, String>,
}

impl Classes {
    fn after(migrations: &[Migration], table: &str) -> Self {
        let mut classes = Self::default();
        for (number, migration) in migrations.iter().enumerate() {
            let which = match &migration.tag {
                Some(tag) => format!("{table} {tag:?}"),
                None => format!("{table} number {}", number + 1),
            };
            let renamed = &migration.renamed_classes;
            migration.deleted_classes.iter().for_each(|name| classes.end(name, &which));
            renamed.iter().for_each(|step| classes.end(&step.from, &which));
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

    fn end(&mut self, name: &str, migration: &str) {
        self.living.remove(name);
        self.gone.insert(name.to_owned(), migration.to_owned());
    }

    /// Of the script's classes those that are gone. In a file that has no `name` they are of the scripts
    /// that its bindings name.
    fn gone(&self, script: &Script) -> Vec<Gone> {
        let named = script.bindings.iter().filter_map(|binding| binding.script_name.as_deref());
        let scripts: BTreeSet<&str> = match &script.name {
            Some(name) => BTreeSet::from([name.as_str()]),
            None => named.collect(),
        };
        let gone = self
            .gone
            .iter()
            .filter_map(|(name, migration)| Some((Class::from_name(name)?, migration)));
        let gone = gone.flat_map(|(class, migration)| {
            scripts.iter().map(move |script| {
                let Binding { unique_key, namespace, .. } = binding(String::new(), class, script);
                Gone { class, unique_key, namespace, migration: migration.clone() }
            })
        });
        gone.collect()
    }

    /// Checks that a class that is bound is there. Of another script's classes nothing is known;
    /// the guide's own file, which has no `name`, has its classes in "another" script and creates
    /// them in its migrations all the same.
    fn check(
        &self,
        class: Class,
        script_name: Option<&str>,
        own_name: Option<&str>,
    ) -> std::result::Result<(), String> {
        let class = class.name();
        let own = script_name.is_none() || script_name == own_name;
        match self.gone.get(class) {
            Some(migration) if own || own_name.is_none() => {
                Err(format!("is of the class {class}, which {migration} takes away"))
            }
            _ if own && !self.living.contains(class) => {
                Err(format!("is of the class {class}, which no migration creates"))
            }
            _ => Ok(()),
        }
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
        let empty = refusal(&text, Some("empty"));
        assert!(empty.contains("[[env.empty.durable_objects.bindings]]"), "{empty}");
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
        let deleted = refusal(&deleted, None);
        assert!(deleted.contains("LOG is of the class AuditLogger"), "{deleted}");
        assert!(deleted.contains("which [[migrations]] \"v2\" takes away"), "{deleted}");
        let away = r#"renamed_classes = [{ from = "RateLimiter", to = "Old" }]"#;
        let renamed = own(&format!("{MIGRATIONS}[[migrations]]\ntag = \"v2\"\n{away}"));
        assert!(refusal(&renamed, None).contains("\"v2\" takes away"));
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
        assert!(refusal(&guide, None).contains("[[migrations]] number 2 takes away"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(refusal("name = ", None).contains("TOML"));
        assert!(refusal("name = \"gate\"", None).contains("no [[durable_objects.bindings]]"));
        let one = r#"[[durable_objects.bindings]]
            name = "A"
            class_name = "RateLimiter"
            script_name = "gate"
            "#;
        let twice = refusal(&one.repeat(2), None);
        assert_eq!(twice, "[[durable_objects.bindings]]: the binding A is there twice");
        let elsewhere = format!("{one}environment = \"production\"");
        assert!(refusal(&elsewhere, None).contains("script_name = "));
        let unknown = one.replace("RateLimiter", "Counter");
        assert!(refusal(&unknown, None).contains("Counter"));
        let nameless = one.replace("script_name = \"gate\"", "");
        let nameless = format!("{nameless}[[migrations]]\nnew_classes = [\"RateLimiter\"]");
        assert!(refusal(&nameless, None).contains("no script_name"));
    }

    #[test]
    fn classes_that_are_taken_away_are_known_with_their_migration() {
        let gone = |text: &str, environment| {
            let bindings = Bindings::from_wrangler(text, environment).unwrap();
            let gone = bindings.gone().iter();
            gone.map(|gone| (gone.unique_key.clone(), gone.migration.clone())).collect::<Vec<_>>()
        };
        let none: Vec<(String, String)> = Vec::new();
        assert_eq!(gone(GUIDE, None), none);
        let pair = |key: &str, migration: &str| (key.to_owned(), migration.to_owned());

        // A file without a name: of the scripts that its bindings name.
        let limiters = GUIDE.replace("AuditLogger", "RateLimiter");
        let deleted =
            "[[migrations]]\ntag = \"v2\"\ndeleted_classes = [\"AuditLogger\", \"Other\"]";
        let text = format!("{limiters}\n{deleted}");
        let expected = [pair("wix-gamma-integration-AuditLogger", r#"[[migrations]] "v2""#)];
        assert_eq!(gone(&text, None), expected);
        let expected = [pair("wix-gamma-integration-prod-AuditLogger", r#"[[migrations]] "v2""#)];
        assert_eq!(gone(&text, Some("production")), expected);

        // A file with a name: of the script that the environment is deployed as.
        let one = r#"durable_objects.bindings = [{ name = "LIMITS", class_name = "RateLimiter" }]"#;
        let renamed = r#"
            [[env.staging.migrations]]
            new_classes = ["RateLimiter", "AuditLogger"]
            [[env.staging.migrations]]
            renamed_classes = [{ from = "AuditLogger", to = "Old" }]
        "#;
        let text = format!("name = \"gate\"\n[env.staging]\n{one}\n{renamed}");
        let expected = [pair("gate-staging-AuditLogger", "[[env.staging.migrations]] number 2")];
        assert_eq!(gone(&text, Some("staging")), expected);
        let again = "[[env.staging.migrations]]\nnew_classes = [\"AuditLogger\"]";
        assert_eq!(gone(&format!("{text}\n{again}"), Some("staging")), none);

        let bindings = Bindings::from_wrangler(&text, Some("staging")).unwrap();
        assert_eq!(bindings.clone().abandoning(&["RateLimiter".to_owned()]).gone().len(), 1);
        assert_eq!(bindings.abandoning(&["AuditLogger".to_owned()]).gone().len(), 0);
    }
}
