// SPDX-License-Identifier: MIT

internal import CFathom
public import Platform
internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Signals that came for this process, a bit each. A global, because a signal handler can reach nothing else.
private let pendingSignals = Atomic<UInt64>(0)

/// Starts a command as every rank of a group on this machine, shows what the ranks write, and sees to it that all end
/// when one fails.
public struct RankLauncher: Sendable {
    /// Between two looks at the ranks.
    private static let pollMilliseconds: Int32 = 20
    /// How long what ranks have started may hold their output open after all have ended.
    private static let drainMilliseconds = 500

    public let topology: Topology
    /// The program and its arguments.
    public let command: [String]
    /// Whether the others go on when a rank fails.
    public var keepsGoing = false
    /// How long ranks that are asked to end have before they are killed.
    public var graceMilliseconds = 5_000

    /// - Throws: `usage` for an empty command.
    public init(_ topology: Topology, command: [String]) throws(FathomError) {
        guard !command.isEmpty else {
            throw FathomError(.usage, "no command to launch; it follows --, with its arguments")
        }
        self.topology = topology
        self.command = command
    }

    /// Runs all ranks until all have ended.
    ///
    /// Takes over SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 for the rest of the process's life, and hands
    /// them on to the ranks.
    ///
    /// - Parameters:
    ///   - variables: the environment that the ranks get besides their own variables.
    ///   - write: takes whole lines, for standard error where `isError`; false if nobody reads them any more, for
    ///     which the ranks are asked to end.
    ///   - say: takes what the launcher itself has to say.
    /// - Returns: the status of the first rank that failed, 128 and the signal's number if a signal ended it; else 0.
    /// - Throws: `missingInput` or `unavailable` if the command cannot be started; ranks that had been are killed.
    public func run(
        variables: [String: String], write: (_ bytes: [UInt8], _ isError: Bool) -> Bool, say: (String) -> Void
    ) throws(FathomError) -> Int32 {
        // Bound until the end, so that nobody else gets the port; rank 0 binds it too and listens.
        let reservation = try Socket.bind(HostPort(host: "127.0.0.1", port: 0), shared: true)
        let rendezvous = HostPort(host: "127.0.0.1", port: reservation.port)
        Self.takeOverSignals()
        var ranks: [RunningRank] = []
        do throws(FathomError) {
            for rank in 0..<topology.rankCount {
                let environment = RankEnvironment(
                    launcher: .fathom, rank: rank, topology: topology, rendezvous: rendezvous,
                    job: "\(getpid()).\(rendezvous.port)")
                let child = try ChildProcess(command, environment: variables.merging(environment.variables) { $1 })
                ranks.append(RunningRank(child, rank: rank, width: String(topology.rankCount - 1).count))
            }
        } catch {
            for rank in ranks { rank.child.send(SIGKILL) }
            throw error
        }
        return supervise(&ranks, write, say)
    }

    private func supervise(
        _ ranks: inout [RunningRank], _ write: ([UInt8], Bool) -> Bool, _ say: (String) -> Void
    ) -> Int32 {
        var isRead = true
        var supervision = LaunchSupervision(
            rankCount: topology.rankCount, keepsGoing: keepsGoing, graceMilliseconds: graceMilliseconds)
        let start = ContinuousClock.now
        func now() -> Int { Int((ContinuousClock.now - start) / .milliseconds(1)) }
        var drainEnd: Int?
        while true {
            Self.sleep(until: ranks)
            var events = Self.takeSignals().map { LaunchSupervision.Event.signal($0) } + [.clock]
            for index in ranks.indices {
                guard !ranks[index].forward(write), isRead else { continue }
                isRead = false
                events.append(.signal(SIGTERM))
            }
            for (rank, running) in ranks.enumerated() where !running.hasEnded {
                guard let ending = running.child.poll() else { continue }
                ranks[rank].hasEnded = true
                events.append(.ended(rank: rank, ending))
            }
            for event in events {
                for action in supervision.handle(event, atMilliseconds: now()) {
                    switch action {
                    case .send(let signal, let rank): ranks[rank].child.send(signal)
                    case .say(let text): say(text)
                    }
                }
            }
            guard supervision.isFinished else { continue }
            let end = drainEnd ?? now() + Self.drainMilliseconds
            drainEnd = end
            if ranks.allSatisfy({ $0.isSilent }) || now() >= end { break }
        }
        for index in ranks.indices { ranks[index].finish(write) }
        return supervision.status
    }

    /// Sleeps until a rank has written something, or a while.
    private static func sleep(until ranks: [RunningRank]) {
        var requests = ranks.flatMap(\.openDescriptors).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        poll(&requests, nfds_t(requests.count), pollMilliseconds)
    }

    private static func takeOverSignals() {
        // Touched here first, so that the handler never runs an initialiser.
        pendingSignals.store(0, ordering: .relaxed)
        // Output that nobody reads is an error that `write` reports.
        signal(SIGPIPE, SIG_IGN)
        for signal in LaunchSupervision.Signal.forwarded {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { signal in
                pendingSignals.bitwiseOr(1 << UInt64(signal), ordering: .relaxed)
            }
            sigemptyset(&action.sa_mask)
            sigaction(signal, &action, nil)
        }
    }

    private static func takeSignals() -> [Int32] {
        let bits = pendingSignals.exchange(0, ordering: .relaxed)
        return LaunchSupervision.Signal.forwarded.filter { bits >> UInt64($0) & 1 == 1 }
    }
}

/// A rank's process and what it has begun to write.
private struct RunningRank {
    private static let readByteCount = 64 << 10

    let child: ChildProcess
    var hasEnded = false
    private var outputLines: LinePrefixer
    private var errorLines: LinePrefixer
    private var outputIsOpen = true
    private var errorsAreOpen = true

    init(_ child: ChildProcess, rank: Int, width: Int) {
        self.child = child
        outputLines = LinePrefixer(rank: rank, width: width)
        errorLines = LinePrefixer(rank: rank, width: width)
    }

    /// Whether nothing more can come.
    var isSilent: Bool { !outputIsOpen && !errorsAreOpen }

    var openDescriptors: [Int32] { (outputIsOpen ? [child.output] : []) + (errorsAreOpen ? [child.errors] : []) }

    /// Hands on what has come, whole lines at a time; whether somebody reads it.
    mutating func forward(_ write: ([UInt8], Bool) -> Bool) -> Bool {
        let output = Self.drain(child.output, &outputIsOpen, &outputLines)
        let errors = Self.drain(child.errors, &errorsAreOpen, &errorLines)
        return (output.isEmpty || write(output, false)) && (errors.isEmpty || write(errors, true))
    }

    /// Hands on the lines that were begun.
    mutating func finish(_ write: ([UInt8], Bool) -> Bool) {
        for (bytes, isError) in [(outputLines.finish(), false), (errorLines.finish(), true)] where !bytes.isEmpty {
            _ = write(bytes, isError)
        }
    }

    /// Reads once and returns whole lines; `isOpen` says whether more can come.
    private static func drain(_ descriptor: Int32, _ isOpen: inout Bool, _ lines: inout LinePrefixer) -> [UInt8] {
        guard isOpen else { return [] }
        let bytes = [UInt8](unsafeUninitializedCapacity: readByteCount) { buffer, count in
            // SAFETY: the system writes at most the buffer's size.
            let received = read(descriptor, buffer.baseAddress, buffer.count)
            isOpen = received > 0 || received < 0 && (errno == EAGAIN || errno == EINTR)
            count = max(0, received)
        }
        return lines.feed(bytes)
    }
}
