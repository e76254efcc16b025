// SPDX-License-Identifier: MIT

/// Which rows each expert gets: tokens grouped by expert, experts ascending, tokens ascending inside an expert.
package struct ExpertPlan {
    /// An expert that at least one token chose, and its rows in the grouped order.
    package struct Group: Sendable, Equatable {
        package var expert: Int
        package var rows: Range<Int>
    }

    /// Where a token's row for one of its experts is.
    struct Place {
        /// Index into `groups`.
        var group: Int
        /// The row inside the group.
        var row: Int
    }

    private(set) var groups: [Group] = []
    /// The token of each grouped row.
    private(set) var tokens: [Int] = []
    /// For each token, the places of its choices, in their order.
    private(set) var places: [[Place]]

    init(choices: [[Router.Choice]], expertCount: Int) {
        var members = [[(token: Int, choice: Int)]](repeating: [], count: expertCount)
        for (token, chosen) in choices.enumerated() {
            for (index, choice) in chosen.enumerated() { members[choice.expert].append((token, index)) }
        }
        places = choices.map { Array(repeating: Place(group: 0, row: 0), count: $0.count) }
        for (expert, rows) in members.enumerated() where !rows.isEmpty {
            for (row, member) in rows.enumerated() {
                places[member.token][member.choice] = Place(group: groups.count, row: row)
            }
            groups.append(Group(expert: expert, rows: tokens.count..<tokens.count + rows.count))
            tokens += rows.map(\.token)
        }
    }
}
