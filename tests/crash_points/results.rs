//! What became of the points that were tried.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use tokio::task::{JoinError, spawn_local};

use super::point::{Loss, Point};
use super::subject::Subject;

/// The points that are left, and what became of the others.
pub struct Results {
    left: RefCell<VecDeque<Point>>,
    tried: RefCell<Vec<(Point, bool)>>,
    failures: RefCell<Vec<String>>,
}

impl Results {
    /// All of these points are left.
    pub fn new(points: Vec<Point>) -> Rc<Self> {
        let left = RefCell::new(points.into());
        Rc::new(Self { left, tried: RefCell::default(), failures: RefCell::default() })
    }

    /// Takes a subject from point to point, until there is none left: then it gives the subject back;
    /// or until one fails.
    pub async fn along<S: Subject + 'static>(self: Rc<Self>, mut subject: S) -> Option<S> {
        while let Some(point) = self.next() {
            let tried = point.clone();
            let checked = spawn_local(async move {
                let is_reached = subject.check(&tried).await;
                (subject, is_reached)
            });
            match checked.await {
                Ok((same, is_reached)) => {
                    subject = same;
                    self.note(point, is_reached);
                }
                // Its nodes are ended, and their logs were printed.
                Err(error) => {
                    self.fail(&point, error);
                    return None;
                }
            }
        }
        Some(subject)
    }

    fn next(&self) -> Option<Point> {
        self.left.borrow_mut().pop_front()
    }

    fn note(&self, point: Point, is_reached: bool) {
        println!("{point}{}", if is_reached { "" } else { " (not reached)" });
        self.tried.borrow_mut().push((point, is_reached));
    }

    fn fail(&self, point: &Point, error: JoinError) {
        let message = match error.try_into_panic().map(|panic| panic.downcast::<String>()) {
            Ok(Ok(message)) => *message,
            _ => "see above".to_owned(),
        };
        let failure = format!("CRASH_POINT=\"{point}\": {message}");
        eprintln!("{failure}");
        self.failures.borrow_mut().push(failure);
    }

    /// Asserts that all points were tried and held, and that most of them were reached.
    pub fn conclude(&self) {
        let failures = self.failures.borrow();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert!(self.next().is_none(), "points are left");
        let tried = self.tried.borrow();
        let mut kinds = BTreeMap::<&str, [usize; 2]>::new();
        for (point, _) in tried.iter().filter(|(_, is_reached)| *is_reached) {
            kinds.entry(&point.kind).or_default()[usize::from(point.loss != Loss::Killed)] += 1;
        }
        println!("killed unplugged step");
        for (kind, [killed, unplugged]) in &kinds {
            println!("{killed:6} {unplugged:9} {kind}");
        }
        let reached: usize = kinds.values().flatten().sum();
        println!("{} points, {reached} reached, of {} kinds", tried.len(), kinds.len());
        assert!(reached * 3 >= tried.len() * 2, "too few points were reached");
    }
}
