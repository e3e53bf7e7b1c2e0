//! Where a route finds its object, and what that adds to its description.

use utoipa::openapi::path::{Operation, OperationBuilder};

use super::parameters::object;
use super::responses::problem;
use crate::bindings::{Bindings, Class};

/// What of each class a client of this node can name.
pub(in crate::http) struct Names {
    limiters: Named,
    logs: Named,
}

/// The bindings of one class, and an object of the first one.
pub(super) struct Named {
    pub bindings: Vec<String>,
    pub object: &'static str,
    /// The object's id.
    pub id: Option<String>,
}

impl Names {
    pub(super) fn of(bindings: &Bindings) -> Self {
        let named = |class: Class, object: &'static str| {
            let bound = || bindings.iter().filter(|binding| binding.class == class);
            let id =
                |namespace: &crate::machine::Namespace| namespace.hex(namespace.object(object).id);
            Named {
                bindings: bound().map(|binding| binding.name.clone()).collect(),
                object,
                id: bound().next().map(|binding| id(&binding.namespace)),
            }
        };
        Self {
            limiters: named(Class::RateLimiter, "wix:user-123"),
            logs: named(Class::AuditLogger, "2026-01-15"),
        }
    }

    /// The bindings of limiters.
    pub(super) fn limiters(&self) -> &[String] {
        &self.limiters.bindings
    }

    /// What of all classes together can be named; its object is one of the first binding.
    pub(super) fn any(&self) -> Named {
        let first = if self.limiters.bindings.is_empty() { &self.logs } else { &self.limiters };
        let bindings = [&self.limiters.bindings[..], &self.logs.bindings].concat();
        Named { bindings, object: first.object, id: first.id.clone() }
    }

    fn class(&self, class: Class) -> &Named {
        match class {
            Class::RateLimiter => &self.limiters,
            Class::AuditLogger => &self.logs,
        }
    }
}

/// Where a route finds its object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the body, or in the day, or nowhere.
    Root,
    /// In the path, by name.
    Name,
    /// In the path, by id.
    Id,
}

impl Place {
    pub(super) fn of(path: &str) -> Self {
        match () {
            () if path.contains("/name/{name}") => Self::Name,
            () if path.contains("/id/{id}") => Self::Id,
            () => Self::Root,
        }
    }
}

/// What is said of a route wherever its object is found.
pub(in crate::http) struct Description {
    /// The class of its objects, if it has some of one class.
    pub(super) class: Option<Class>,
    pub(super) id: &'static str,
    pub(super) operation: OperationBuilder,
}

impl Description {
    /// At a place: its parameters, and the `operationId`.
    pub(super) fn at(self, place: Place, names: &Names) -> Operation {
        let Self { class, id, mut operation } = self;
        let suffix = match place {
            Place::Root => "",
            Place::Name => "ByName",
            Place::Id => "ById",
        };
        if let Some(class) = class {
            // At the root there may be no binding of the class.
            operation = operation.response("404", problem(404));
            if place != Place::Root {
                for parameter in object(place, names.class(class)) {
                    operation = operation.parameter(parameter);
                }
                operation = operation.response("400", problem(400));
            }
        }
        operation.operation_id(Some(format!("{id}{suffix}"))).build()
    }
}
