//! Calls set up and ended: offer, ringing, answer, candidates both ways, hang-up.

use std::{
    hint,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    histogram::Histogram,
    server::Server,
    session::{Session, hello, open_all, text, wait},
};

/// About what a browser's description with audio and video takes.
const DESCRIPTION: usize = 3000;

/// What was measured.
pub(crate) struct Measured {
    pub(crate) per_core: f64,
    pub(crate) per_second: f64,
    /// From the offer to the answer at the caller.
    pub(crate) set_up: Histogram,
}

/// Two people who call one another again and again.
struct Couple {
    at: usize,
    caller: Session,
    callee: Session,
    number: u64,
    began: Instant,
    is_over: bool,
}

/// Every couple always in a call.
///
/// # Errors
/// A connection fails, or a request is refused.
pub(crate) fn measure(server: &Server, couples: usize, time: Duration) -> Result<Measured> {
    let last = server.addresses.len() - 1;
    let callers: Vec<_> = (0..couples).map(|at| hello(server, &format!("caller-{at}"), 0)).collect();
    let callees: Vec<_> = (0..couples).map(|at| hello(server, &format!("callee-{at}"), last)).collect();
    let begin = Instant::now();
    let mut couples: Vec<Couple> = open_all(server, &callers)?
        .into_iter()
        .zip(open_all(server, &callees)?)
        .enumerate()
        .map(|(at, (caller, callee))| Couple { at, caller, callee, number: 0, began: begin, is_over: true })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let description = format!(r#"{{"type":"offer","sdp":"{}"}}"#, "v".repeat(DESCRIPTION));
    let (before, begin) = (server.spent()?, Instant::now());
    let (mut ended, mut set_up) = (0, Histogram::new());
    while begin.elapsed() < time {
        for couple in &mut couples {
            if couple.is_over {
                couple.offer(&description)?;
            }
            ended += couple.step(&description, &mut set_up)?;
        }
        hint::spin_loop();
    }
    let (elapsed, spent) = (begin.elapsed(), server.spent()?.saturating_sub(before));
    // What is under way comes to its end too.
    for couple in &mut couples {
        wait(|| {
            couple.step(&description, &mut set_up)?;
            Ok(couple.is_over)
        })
        .with_context(|| couple.call())?;
    }
    let per_core = f64::from(ended) / spent.as_secs_f64();
    Ok(Measured { per_core, per_second: f64::from(ended) / elapsed.as_secs_f64(), set_up })
}

impl Couple {
    fn offer(&mut self, description: &str) -> Result<()> {
        self.number += 1;
        (self.is_over, self.began) = (false, Instant::now());
        let offer = format!(
            r#"{{"id":"o{}","type":"call-offer","call":"{}","to":{{"user":"callee-{}"}},"media":["audio","video"],"data":{description}}}"#,
            self.number,
            self.call(),
            self.at
        );
        self.caller.send(&offer)
    }

    fn call(&self) -> String {
        format!("c_{}_{}", self.at, self.number)
    }

    /// Answers what came; how many calls ended.
    fn step(&mut self, description: &str, set_up: &mut Histogram) -> Result<u32> {
        let call = self.call();
        let candidates = format!(
            r#"{{"type":"ice-candidate","call":"{call}","candidates":[{{"candidate":"candidate:1 1 udp 2122260223 192.0.2.1 54400 typ host","sdpMid":"0","sdpMLineIndex":0}},{{"candidate":"candidate:2 1 udp 1686052607 198.51.100.1 54401 typ srflx raddr 192.0.2.1 rport 54400","sdpMid":"0","sdpMLineIndex":0}}],"end":true}}"#
        );
        let (began, number) = (self.began, self.number);
        let mut say = Vec::new();
        self.callee.poll(|frame| {
            if kind(frame)? == "call-offer" {
                say.push(format!(r#"{{"type":"call-ringing","call":"{call}"}}"#));
                // A new name, or else it would be answered what the last one was.
                say.push(format!(
                    r#"{{"id":"a{number}","type":"call-answer","call":"{call}","data":{description}}}"#
                ));
                say.push(candidates.clone());
            }
            Ok(())
        })?;
        for frame in say.drain(..) {
            self.callee.send(&frame)?;
        }
        let mut ended = 0;
        self.caller.poll(|frame| {
            match kind(frame)? {
                "call-answer" => {
                    set_up.record(began.elapsed().as_nanos() as u64);
                    say.push(candidates.clone());
                }
                // Candidates are the last that the callee says: both sides have all.
                "ice-candidate" => {
                    say.push(format!(
                        r#"{{"id":"h{number}","type":"call-hangup","call":"{call}","reason":"user"}}"#
                    ));
                }
                "ok" if text(frame, "re").is_some_and(|re| re.starts_with('h')) => ended += 1,
                _ => {}
            }
            Ok(())
        })?;
        for frame in say {
            self.caller.send(&frame)?;
        }
        self.is_over |= ended > 0;
        ensure!(ended <= 1, "a call ended twice");
        Ok(ended)
    }
}

fn kind(frame: &[u8]) -> Result<&str> {
    text(frame, "type").context("a frame without a type")
}
