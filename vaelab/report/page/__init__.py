"""`report.html`: one page, with nothing to load, that says what a run or an audit measured.

    markup      tags and tables; whatever is not markup yet is escaped
    svg         scales, axes and frames of the plots
    plots       bars, histograms, curves
    latent      means and standard deviations of q_phi and q*
    worst       which datapoints lose the most, and why
    summary     the rows of gap.json: one sentence, the stacked bars, tables
    advice      what to do about the gaps of a row
    units       the KL by dimension, active units, the aggregate posterior
    parts       the gaps by group, by mean and scale, by pairs of latents
    modes       how many datapoints have several modes, and what the fits lost by theirs
    datapoints  the distribution of the gaps, the worst datapoints, latent space
    gallery     what the model makes of z, in strips of images
    origin      learning curves, command, versions, settings
    document    a page: its head, its contents, its sections
    run         the page of a run or an audit
    series      quantities along one varied setting, or over two
    sweep       the page of a sweep
    comparison  the page of a comparison
    index       the page over a folder of runs
    measured    what it shows beside the figures: latent Gaussians, pictures, versions

Only `measured` knows models; the rest is a pure function of plain data.
"""
