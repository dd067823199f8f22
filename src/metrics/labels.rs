//! What a series is told apart by: enums, so that there are as many as there are values, and no host or path becomes one.

macro_rules! labels {
    ($(#[$doc:meta])* $visible:vis $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visible enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in order.
            $visible const ALL: &[Self] = &[$(Self::$variant),+];

            /// The label's text.
            $visible const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

labels! {
    /// Whose request it was.
    pub Route {
        /// The sign-in site.
        Deployer = "deployer",
        /// A tunnel, the edge's own paths on it included.
        Tunnel = "tunnel",
        /// Nobody's.
        Other = "other",
    }
}
labels! {
    /// What a look at a token found.
    pub TokenCheck {
        /// Good, and redeemed now.
        Ok = "ok",
        /// Good, and redeemed before by the same browser.
        Repeat = "repeat",
        /// Not a token of ours, or changed since.
        Signature = "signature",
        /// Past its `exp`.
        Expired = "expired",
        /// Revoked, or its session was.
        Revoked = "revoked",
        /// Well signed, never issued.
        Unknown = "unknown",
        /// Not in the browser that asked for it.
        Bind = "bind",
        /// Not redeemed in time.
        Late = "late",
        /// Redeemed elsewhere.
        Bound = "bound",
        /// For another tunnel.
        Audience = "audience",
    }
}
labels! {
    /// How somebody signed in.
    pub SignInMethod {
        /// With a passkey.
        Passkey = "passkey",
        /// With a backup code.
        BackupCode = "backup_code",
        /// With a link sent by mail.
        MagicLink = "magic_link",
        /// With a password.
        Password = "password",
    }
}
labels! {
    /// Whether a sign-in was let through.
    pub SignInResult {
        /// It was.
        Ok = "ok",
        /// It was not.
        Refused = "refused",
    }
}
labels! {
    /// What an open stream carries.
    pub StreamKind {
        /// A request and its answer.
        Http = "http",
        /// A WebSocket.
        WebSocket = "websocket",
        /// Server-sent events.
        Sse = "sse",
    }
}
labels! {
    /// How a TLS handshake ended.
    pub Handshake {
        /// A visitor's, done.
        Visitor = "visitor",
        /// An agent's, done.
        Agent = "agent",
        /// Not TLS, or broken off.
        Failed = "failed",
        /// Not done in time.
        Timeout = "timeout",
    }
}
labels! {
    /// What somebody took too much of, and was refused or cut off for.
    pub Limit {
        /// Connections, of all visitors and agents together.
        Connections = "connections",
        /// Connections, of one address.
        AddressConnections = "address_connections",
        /// Open files of the process.
        Descriptors = "descriptors",
        /// Requests, of one address.
        AddressRequests = "address_requests",
        /// Requests, of one session.
        SessionRequests = "session_requests",
        /// Frames of HTTP/2 that bring nothing, of one visitor's connection.
        Frames = "frames",
        /// The same, of an agent's.
        AgentFrames = "agent_frames",
        /// What an agent says, line by line.
        AgentEvents = "agent_events",
        /// Connections, of one desktop's key.
        AgentConnections = "agent_connections",
        /// Open streams, of one tunnel.
        AgentStreams = "agent_streams",
        /// What of a tunnel's streams may lie unread: an agent does not agree to less.
        AgentMemory = "agent_memory",
        /// Time for a request's head.
        HeadTime = "head_time",
        /// Size of a request's head, its target or their number of fields.
        HeadSize = "head_size",
        /// Slowness in sending a body.
        SendingRate = "sending_rate",
        /// Slowness in taking an answer.
        TakingRate = "taking_rate",
    }
}

labels! {
    /// The first digit of an answer's status.
    pub(super) Class {
        /// There was no answer: the request was cut before.
        Cut = "cut",
        /// 1xx
        Informational = "1xx",
        /// 2xx
        Success = "2xx",
        /// 3xx
        Redirection = "3xx",
        /// 4xx
        ClientError = "4xx",
        /// 5xx
        ServerError = "5xx",
    }
}

impl Class {
    /// Of a status; 0 where there was none.
    pub(super) const fn of(status: u16) -> Self {
        match status / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::Cut,
        }
    }
}
