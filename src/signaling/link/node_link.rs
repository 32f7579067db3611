//! The link to one other node.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use super::{
    super::{Instant, SessionId},
    calls::ASKED_SWEEP,
    channel::{Channel, Fill, next_message},
    message::{Carried, LOST_MAX, Message, Moving, TO_MAX, Taking},
    telling::{Hearing, Telling},
    wire::{Reader, Writer},
};

/// The link to a run of a node.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) run: u64,
    /// Whether its lease lasts.
    pub(super) is_up: bool,
    pub(super) channel: Channel,
    /// A frame for several sessions, that more may follow.
    fan: Option<(Bytes, Vec<SessionId>)>,
    /// Telling it all there is here.
    pub(super) telling: Option<Telling>,
    /// Whether something was not told since there was no room.
    pub(super) must_tell: bool,
    /// Hearing all there is there.
    pub(super) hearing: Option<Hearing>,
    /// Sessions there of which frames were lost.
    lost: BTreeSet<SessionId>,
    pub(super) timer: Option<Instant>,
    /// Requests about calls that it was asked and has not answered, and how many they may become before those that
    /// nobody waits for any more are looked for.
    pub(super) asked: BTreeSet<(SessionId, Arc<str>)>,
    pub(super) asked_sweep: usize,
}

impl Link {
    pub(super) fn new(run: u64, stream: u64) -> Self {
        Self {
            run,
            is_up: true,
            channel: Channel::new(stream),
            fan: None,
            telling: None,
            must_tell: false,
            hearing: None,
            lost: BTreeSet::new(),
            timer: None,
            asked: BTreeSet::new(),
            asked_sweep: ASKED_SWEEP,
        }
    }

    /// Says something that must be said. If there is no room at all, the sessions that it was for are told that they
    /// missed something.
    pub(super) fn say(&mut self, message: impl Into<Message>) {
        let message = message.into();
        // Without a receipt it is the same for whoever else gets it.
        if let Message::Carried(Carried::Frame { to, tail, receipt: None }) = message {
            return to.into_iter().for_each(|to| self.fan_out(to, &tail));
        }
        self.end_fan();
        self.push(&message);
    }

    /// Says what is written already, and can be told in another way later: then `false`.
    pub(super) fn say_written(&mut self, message: &[u8]) -> bool {
        self.end_fan();
        self.channel.fill() != Fill::Full && self.channel.push(message)
    }

    /// A frame for a session. The same for another one after it goes along.
    fn fan_out(&mut self, to: SessionId, tail: &Bytes) {
        if let Some((same, all)) = &mut self.fan
            && same.as_ptr() == tail.as_ptr()
            && same.len() == tail.len()
            && all.len() < TO_MAX
        {
            all.push(to);
            return;
        }
        self.end_fan();
        self.fan = Some((tail.clone(), vec![to]));
    }

    pub(super) fn end_fan(&mut self) {
        if let Some((tail, to)) = self.fan.take() {
            self.push(&Carried::Frame { to, tail, receipt: None }.into());
        }
    }

    fn push(&mut self, message: &Message) {
        let mut writer = Writer::default();
        message.write(&mut writer);
        if !self.channel.push(writer.as_bytes()) {
            self.lose(message);
        }
    }

    /// Something does not arrive. The sessions that miss it are told, as far as they are not told all again.
    pub(super) fn lose(&mut self, message: &Message) {
        match message {
            Message::Carried(Carried::Frame { to, .. }) | Message::Lost(to) => self.lost.extend(to),
            Message::Carried(Carried::ToCall { caller, from, .. }) => {
                self.lost.extend(caller.iter().chain([from]));
            }
            Message::Carried(Carried::Answer { to: session, .. })
            | Message::Taking(Taking::Taken(session, _))
            | Message::Moving(Moving::Moved { session, .. }) => _ = self.lost.insert(*session),
            Message::Told(_)
            | Message::Carried(Carried::Fence { .. })
            | Message::Taking(Taking::Take(_) | Taking::NotTaken(_))
            | Message::Moving(Moving::Seen(..) | Moving::Passed(..)) => self.must_tell = true,
        }
        while self.lost.len() > LOST_MAX {
            self.lost.pop_last();
        }
    }

    /// A session there is told that it missed something.
    pub(super) fn lose_session(&mut self, session: SessionId) {
        self.lose(&Message::Lost(vec![session]));
    }

    /// Says which sessions there missed something, once there is room.
    pub(super) fn tell_lost(&mut self) {
        if !self.lost.is_empty() && self.channel.fill() == Fill::Free {
            let lost = std::mem::take(&mut self.lost).into_iter().collect();
            self.say(Message::Lost(lost));
        }
    }

    /// The other node was given up, or gave this one up. What was on its way there may not arrive later: it would come
    /// after what was said since by way of other nodes. Its sessions are told then that they missed something.
    /// Answers the requests among it.
    pub(super) fn abandon(&mut self, stream: u64) -> Vec<(SessionId, Arc<str>)> {
        let mut requests = Vec::new();
        let waiting = self.channel.unacknowledged();
        let mut at = 0;
        while let Some((message, next)) = next_message(&waiting, at) {
            at = next;
            let Some(message) = Message::read(&mut Reader::new(message)) else { continue };
            self.lose(&message);
            if let Message::Carried(Carried::ToCall { from, id: Some(id), .. }) = message {
                requests.push((from, id));
            }
        }
        self.channel.begin(stream);
        requests
    }
}
