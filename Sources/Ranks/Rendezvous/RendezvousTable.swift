// SPDX-License-Identifier: MIT

/// Rank 0's side of the rendezvous, without sockets and clock: who has come, and whom to answer what.
struct RendezvousTable {
    /// What happened.
    enum Event {
        case hello(connection: Int, RendezvousHello)
        /// A connection sent what is no hello.
        case malformed(connection: Int, reason: String)
        case closed(connection: Int)
        /// The time is over.
        case timeout
    }

    /// What to do.
    enum Action: Equatable {
        case reply(connection: Int, RendezvousReply)
        case close(connection: Int)
        /// All have come.
        case complete
        /// The group cannot form. All that came have been answered so.
        case fail(String)
    }

    private let topology: Topology
    private let own: RendezvousHello
    private let groupText: String
    /// By rank; rank 0 has no connection.
    private var hellos: [RendezvousHello?]
    private var connections: [Int?]

    /// - Parameters:
    ///   - own: what rank 0 would say.
    ///   - groupText: what the others need to join.
    init(topology: Topology, own: RendezvousHello, groupText: String) {
        self.topology = topology
        self.own = own
        self.groupText = groupText
        hellos = Array(repeating: nil, count: topology.rankCount)
        connections = Array(repeating: nil, count: topology.rankCount)
        hellos[0] = own
    }

    /// The ranks that have not come.
    var missing: [Int] { hellos.indices.filter { hellos[$0] == nil } }

    /// What those said that have come, by rank.
    var all: [RendezvousHello] { hellos.compactMap(\.self) }

    mutating func handle(_ event: Event) -> [Action] {
        switch event {
        case .hello(let connection, let hello): return greet(hello, connection)
        case .malformed(let connection, let reason):
            // Whoever it is, it learns why; the group may still form.
            return [.reply(connection: connection, .refused("rank 0 heard \(reason)")), .close(connection: connection)]
        case .closed(let connection):
            guard let rank = connections.firstIndex(of: connection) else { return [] }
            return fail("rank \(rank) went away before all ranks had come")
        case .timeout:
            return fail("the time to meet is over; missing: rank \(missing.map(String.init).joined(separator: ", "))")
        }
    }

    private mutating func greet(_ hello: RendezvousHello, _ connection: Int) -> [Action] {
        guard hello.job == own.job else {
            return [.reply(connection: connection, .otherJob), .close(connection: connection)]
        }
        if let reason = objection(to: hello) {
            return [.reply(connection: connection, .refused(reason))] + fail(reason)
        }
        hellos[hello.rank] = hello
        connections[hello.rank] = connection
        guard missing.isEmpty else { return [] }
        let all = all
        let welcome = RendezvousReply.welcome(
            group: groupText, machines: all.map(\.machine), addresses: all.map(\.address))
        return connections.compactMap { $0.map { .reply(connection: $0, welcome) } } + [.complete]
    }

    /// Why a rank cannot be taken, where that is so.
    private func objection(to hello: RendezvousHello) -> String? {
        if hello.rankCount != topology.rankCount || hello.ranksPerNode != topology.ranksPerNode {
            return
                "rank \(hello.rank) thinks of \(hello.rankCount) ranks, \(hello.ranksPerNode) on a node; rank 0 of "
                + "\(topology.rankCount), \(topology.ranksPerNode) on a node"
        }
        guard hellos.indices.contains(hello.rank) else {
            return "rank \(hello.rank) came; legal are 0 to \(topology.rankCount - 1)"
        }
        if hellos[hello.rank] != nil { return "rank \(hello.rank) came twice" }
        return nil
    }

    private func fail(_ reason: String) -> [Action] {
        connections.compactMap { $0.map { .reply(connection: $0, .refused(reason)) } } + [.fail(reason)]
    }
}
