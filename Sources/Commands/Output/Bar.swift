// SPDX-License-Identifier: MIT

/// Horizontal bars of block characters, eight steps to a column.
enum Bar {
    private static let steps = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]

    /// `fraction` (0…1) of `width` columns, filled up with blanks.
    static func text(_ fraction: Double, width: Int) -> String {
        let eighths = Int((min(1, max(0, fraction)) * Double(width * 8)).rounded())
        let bar = String(repeating: "█", count: eighths / 8) + steps[eighths % 8]
        return bar + String(repeating: " ", count: width - (eighths + 7) / 8)
    }
}
