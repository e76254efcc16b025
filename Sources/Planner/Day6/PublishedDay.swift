// SPDX-License-Identifier: MIT

/// The day that DeepSeek published on the sixth day of its open-source week: 24 hours from 12:00 on 27 February 2025
/// (UTC+8). Inputs and figures to compare with; nothing is computed here.
///
/// Source: deepseek-ai/open-infra-index, "Day 6: One More Thing, DeepSeek-V3/R1 Inference System Overview". What is
/// read off a figure or derived says so.
public enum PublishedDay {
    /// Tokens of the day: 608 B of input, of which 342 B hit the cache, and 168 B of output; each rounded to 1 B.
    public static let tokens = TokenTotals(input: 608e9, hits: 342e9, output: 168e9)
    /// To what the totals are rounded.
    public static let tokenRounding = 1e9

    public static let averageNodes = 226.75
    public static let peakNodes = 278
    public static let gpusPerNode = 8
    /// Rent of an H800, dollars per hour.
    public static let dollarsPerGPUHour = 2.0
    /// Dollars per day.
    public static let cost = 87_072.0
    public static let income = 562_027.0
    /// Income over cost, less one.
    public static let profitMargin = 5.45
    public static let hitRate = 0.563
    /// Tokens per second of a prefill node, hits included.
    public static let prefillTokensPerSecondPerNode = 73_700.0
    public static let decodeTokensPerSecondPerNode = 14_800.0
    /// Tokens per second of one answer.
    public static let outputSpeed = 20.0...22.0
    /// Mean tokens in the cache of a request, over all output tokens.
    public static let meanCachedTokens = 4_989.0
    /// Split of 226.75 that the published rates imply: totals of the day over 86,400 s and these counts give 73.7k and
    /// 14.8k.
    public static let averageDecodeNodes = 131.25
    public static let averagePrefillNodes = 95.5

    /// Nodes by time, read off the published step plot; the mean is 226.75 exactly, which confirms the reading.
    public static let nodes = NodeSchedule(
        steps: [
            step(12, 0, 278), step(24, 0, 218), step(25, 15, 188), step(26, 0, 158), step(26, 45, 128), step(27, 0, 98),
            step(27, 30, 68), step(30, 30, 98), step(31, 0, 128), step(31, 30, 188), step(32, 0, 218),
            step(32, 30, 278),
        ],
        seconds: 86_400)

    /// A step at a time of day, counted on past midnight.
    private static func step(_ hour: Int, _ minute: Int, _ nodes: Int) -> NodeSchedule.Step {
        NodeSchedule.Step(start: Double((hour - 12) * 3600 + minute * 60), nodes: nodes)
    }

    /// Units: prefill on 4 nodes, decode on 18, as published. The counts in the plot are 68 + 30k, so a step is three
    /// prefill units and one decode unit, the least fleet 8 and 2, the largest 29 and 9 (derived).
    public static let scaling = ScalingSteps(
        prefillUnitNodes: 4, decodeUnitNodes: 18, leastPrefillUnits: 8, leastDecodeUnits: 2, stepPrefillUnits: 3,
        stepDecodeUnits: 1, maximumSteps: 7)

    /// Income of each hour from 12:00 on in thousands of dollars, read off the published bars. Their sum is 561.8;
    /// 562.0 is published.
    public static let hourlyIncome: [Double] = [
        27.0, 28.5, 30.5, 30.9, 30.5, 27.8, 26.8, 29.6, 30.7, 30.8, 31.1, 29.8,
        21.7, 17.9, 13.1, 7.9, 6.3, 6.3, 7.9, 13.7, 23.1, 29.5, 30.5, 29.9,
    ]
}
