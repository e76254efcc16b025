// SPDX-License-Identifier: MIT

internal import Platform

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Rank 0's side of the rendezvous: sockets and a clock around a `RendezvousTable`.
struct RendezvousHost {
    /// Connections that have not said a sensible hello; the oldest makes room.
    private static let maximumStrangers = 64

    private let listener: Socket
    private var table: RendezvousTable
    private var connections: [Int: Connection] = [:]
    private var nextConnection = 0
    private let deadline: ContinuousClock.Instant

    private struct Connection {
        let socket: Socket
        var input: [UInt8] = []
        var hasGreeted = false
    }

    /// Listens.
    ///
    /// - Throws: `unavailable` if the place is taken.
    init(
        at place: HostPort, sharesPort: Bool, table: RendezvousTable, rankCount: Int, deadline: ContinuousClock.Instant
    ) throws(FathomError) {
        listener = try Socket.bind(place, shared: sharesPort)
        try listener.listen(backlog: rankCount + Self.maximumStrangers)
        self.table = table
        self.deadline = deadline
    }

    /// Waits until all ranks have come and tells them so. Returns what they said, by rank.
    ///
    /// - Throws: `unavailable` naming the ranks that did not come, or the one that does not fit.
    mutating func run() throws(FathomError) -> [RendezvousHello] {
        while try !poll() {
            if ContinuousClock.now >= deadline { _ = try handle(.timeout) }
        }
        return table.all
    }

    /// Sleeps until something comes and handles it; whether all have come.
    private mutating func poll() throws(FathomError) -> Bool {
        let ids = connections.keys.sorted()
        var requests = [pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)]
        for id in ids {
            if let socket = connections[id]?.socket {
                requests.append(pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0))
            }
        }
        let milliseconds = Socket.milliseconds(until: deadline)
        #if canImport(Glibc)
        _ = Glibc.poll(&requests, nfds_t(requests.count), milliseconds)
        #else
        _ = Musl.poll(&requests, nfds_t(requests.count), milliseconds)
        #endif
        for (id, request) in zip(ids, requests.dropFirst()) where request.revents != 0 {
            if try read(id) { return true }
        }
        if requests[0].revents != 0 { acceptAll() }
        return false
    }

    private mutating func acceptAll() {
        while let socket = listener.accept() {
            let strangers = connections.filter { !$0.value.hasGreeted }.keys.sorted()
            if strangers.count >= Self.maximumStrangers { connections[strangers[0]] = nil }
            connections[nextConnection] = Connection(socket: socket)
            nextConnection += 1
        }
    }

    /// Reads from a connection; whether all have come.
    private mutating func read(_ id: Int) throws(FathomError) -> Bool {
        guard var connection = connections[id] else { return false }
        guard let bytes = connection.socket.receive() else {
            connections[id] = nil
            return try handle(.closed(connection: id))
        }
        connection.input += bytes
        let hello: RendezvousHello
        do throws(FathomError) {
            guard let payload = try RendezvousFrame.take(from: &connection.input) else {
                connections[id] = connection
                return false
            }
            hello = try RendezvousHello(payload: payload)
        } catch {
            return try handle(.malformed(connection: id, reason: error.message))
        }
        connection.hasGreeted = true
        connections[id] = connection
        return try handle(.hello(connection: id, hello))
    }

    /// Gives the table an event and does what it asks for; whether all have come.
    private mutating func handle(_ event: RendezvousTable.Event) throws(FathomError) -> Bool {
        var isComplete = false
        for action in table.handle(event) {
            switch action {
            case .reply(let connection, let reply):
                // Answers have a little time of their own, for those that say why the time is over.
                let limit = max(deadline, .now + .seconds(1))
                _ = connections[connection]?.socket.send(reply.bytes, deadline: limit)
            case .close(let connection): connections[connection] = nil
            case .complete: isComplete = true
            case .fail(let reason): throw FathomError(.unavailable, "the group cannot form: \(reason)")
            }
        }
        return isComplete
    }
}
