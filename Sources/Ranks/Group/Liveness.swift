// SPDX-License-Identifier: MIT

internal import CFathom
internal import Platform
internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Knows which ranks are still there, and shows the others that this one is.
///
/// A rank that leaves says so. A process that dies is told by the system through a descriptor of it, at once; one
/// that hangs (or is stopped) by its heartbeat, which a thread of its own raises. Ranks that are threads of this
/// process only leave.
final class Liveness: Sendable {
    /// What is known of another rank.
    private struct Peer {
        /// Readable once the process has ended; −1 for a thread of this process or where the system has none.
        var descriptor: Int32 = -1
        var process: Int32 = 0
        var heartbeat: UInt64 = 0
        var heard: ContinuousClock.Instant
        var isWatched = false
    }

    private let rank: Int
    private let control: ControlBlock
    private let limits: RankGroup.Limits
    private let peers: Mutex<[Peer]>
    private let pulse: Pulse
    private let link: (any NetworkLink)?

    /// Shows this rank as joined.
    init(
        rank: Int, control: ControlBlock, limits: RankGroup.Limits, link: (any NetworkLink)?
    ) throws(FathomError) {
        self.link = link
        self.rank = rank
        self.control = control
        self.limits = limits
        peers = Mutex(Array(repeating: Peer(heard: .now), count: control.rankCount))
        pulse = Pulse(control: control, rank: rank, milliseconds: limits.heartbeatMilliseconds, link: link)
        try pulse.start()
        control.process(rank).pointee.store(UInt32(getpid()), ordering: .relaxed)
        control.stateWord(rank).pointee.store(ControlBlock.State.joined.rawValue, ordering: .releasing)
    }

    deinit {
        stop()
        peers.withLock { peers in
            for peer in peers where peer.descriptor >= 0 { close(peer.descriptor) }
        }
    }

    /// Begins to watch the others, all of whom have joined.
    func watch() {
        peers.withLock { peers in
            for other in peers.indices where other != rank {
                let process = Int32(bitPattern: control.process(other).pointee.load(ordering: .acquiring))
                peers[other].process = process
                peers[other].heard = .now
                if link != nil {
                    peers[other].isWatched = true
                } else if process != getpid() {
                    peers[other].descriptor = fathom_process_descriptor(process)
                    peers[other].isWatched = true
                }
            }
        }
    }

    func stop() { pulse.stop() }

    /// Kills the process of another rank, if it is one.
    func kill(_ other: Int) {
        let process = peers.withLock { $0[other].isWatched && link == nil ? $0[other].process : 0 }
        if process > 0 { Glibc.kill(process, SIGKILL) }
    }

    /// Whether it is certain that a rank does nothing any more: it left, or its process has ended.
    func isGone(_ other: Int) -> Bool {
        switch control.state(other) {
        case .left, .failed: return true
        case .absent, .joined: break
        }
        return peers.withLock { peers in
            guard other != rank, peers[other].descriptor >= 0 else { return false }
            var poll = pollfd(fd: peers[other].descriptor, events: Int16(POLLIN), revents: 0)
            return Glibc.poll(&poll, 1, 0) == 1
        }
    }

    /// Why nothing more can come from a rank, as the rest of a sentence; nil as long as something can.
    func loss(of other: Int) -> String? {
        switch control.state(other) {
        case .left: return "has left the group"
        case .failed: return "has failed and left the group"
        case .absent, .joined: break
        }
        if let reason = link?.loss(of: other) { return reason }
        return peers.withLock { peers in
            guard other != rank, peers[other].isWatched else { return nil }
            let process = peers[other].process
            if peers[other].descriptor >= 0 {
                var poll = pollfd(fd: peers[other].descriptor, events: Int16(POLLIN), revents: 0)
                if Glibc.poll(&poll, 1, 0) == 1 { return "has died (process \(process))" }
            } else if link == nil, Glibc.kill(process, 0) != 0, errno == ESRCH {
                return "has died (process \(process))"
            }
            let heartbeat = control.heartbeat(other).pointee.load(ordering: .acquiring)
            let now = ContinuousClock.now
            if heartbeat != peers[other].heartbeat {
                peers[other].heartbeat = heartbeat
                peers[other].heard = now
            } else if now - peers[other].heard > .milliseconds(limits.hangMilliseconds) {
                return "hangs (process \(process) has shown no life for \(limits.hangMilliseconds) ms)"
            }
            return nil
        }
    }
}

/// The thread that raises a rank's heartbeat.
private final class Pulse: Sendable {
    private let control: ControlBlock
    private let rank: Int
    private let milliseconds: Int
    private let link: (any NetworkLink)?
    private let isStopped = Atomic<Bool>(false)
    /// The thread uses the control block until it has ended.
    private let thread = Mutex<pthread_t?>(nil)

    init(control: ControlBlock, rank: Int, milliseconds: Int, link: (any NetworkLink)?) {
        self.link = link
        self.control = control
        self.rank = rank
        self.milliseconds = milliseconds
    }

    func start() throws(FathomError) {
        var id = pthread_t()
        // SAFETY: Unmanaged carries one retained reference into the thread, which takes it over.
        let argument = Unmanaged.passRetained(self)
        let status = pthread_create(
            &id, nil,
            { raw in
                // SAFETY: the retained object that pthread_create was given, taken once.
                guard let raw else { return nil }
                Unmanaged<Pulse>.fromOpaque(raw).takeRetainedValue().run()
                return nil
            }, argument.toOpaque())
        guard status == 0 else {
            argument.release()
            throw FathomError(.unavailable, "cannot start the heartbeat's thread: \(systemErrorText(status))")
        }
        thread.withLock { $0 = id }
    }

    private func run() {
        while !isStopped.load(ordering: .acquiring) {
            let beat = control.heartbeat(rank).pointee.wrappingAdd(1, ordering: .releasing).newValue
            link?.announce(beat, memory: 0, at: control.heartbeatOffset(rank))
            usleep(UInt32(milliseconds) * 1000)
        }
    }

    /// Ends the thread and waits for that.
    func stop() {
        isStopped.store(true, ordering: .releasing)
        let id = thread.withLock { id in
            defer { id = nil }
            return id
        }
        if let id { pthread_join(id, nil) }
    }
}
