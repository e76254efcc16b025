// SPDX-License-Identifier: MIT

/// What one rank sends where in one call of `dispatch`: each token's row once to every rank that has one of its
/// experts.
package struct DispatchPlan: Sendable, Equatable {
    /// One choice that a rank is asked to compute: four 32-bit numbers on the way.
    package struct Entry: Sendable, Equatable {
        /// The row among those sent to the rank.
        package var row: Int32
        package var expert: Int32
        /// The token at its source, and which of its choices this is: where the output goes.
        package var token: Int32
        package var choice: Int32
    }

    /// What one rank is sent.
    package struct Message: Sendable, Equatable {
        /// The tokens whose rows are sent, ascending.
        package var tokens: [Int] = []
        /// By token, then by choice.
        package var entries: [Entry] = []
    }

    /// For each rank, its message.
    package var messages: [Message]

    package init(choices: [[Router.Choice]], placement: LayerPlacement, source: Int, rankCount: Int) {
        messages = Array(repeating: Message(), count: rankCount)
        for (token, chosen) in choices.enumerated() {
            for (index, choice) in chosen.enumerated() {
                let rank = placement.rank(of: choice.expert, token: token, source: source)
                if messages[rank].tokens.last != token { messages[rank].tokens.append(token) }
                messages[rank].entries.append(
                    Entry(
                        row: Int32(messages[rank].tokens.count - 1), expert: Int32(choice.expert),
                        token: Int32(token), choice: Int32(index)))
            }
        }
    }
}

/// What all ranks sent to one rank, grouped by expert: inside an expert by source rank, then by token.
package struct ReceivedPlan: Sendable, Equatable {
    /// A row of a group: where it comes from and where its output goes.
    package struct Row: Sendable, Equatable {
        package var source: Int
        package var entry: DispatchPlan.Entry
    }

    package private(set) var groups: [ExpertPlan.Group] = []
    /// The rows of all groups, side by side.
    package private(set) var rows: [Row] = []

    /// - Parameter entries: for each source rank what it sent.
    package init(_ entries: [[DispatchPlan.Entry]]) {
        var members: [Int32: [Row]] = [:]
        for (source, list) in entries.enumerated() {
            for entry in list { members[entry.expert, default: []].append(Row(source: source, entry: entry)) }
        }
        for (expert, list) in members.sorted(by: { $0.key < $1.key }) {
            groups.append(ExpertPlan.Group(expert: Int(expert), rows: rows.count..<rows.count + list.count))
            rows += list
        }
    }
}
