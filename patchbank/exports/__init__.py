"""Labels for other tools: what a run says of pictures, in the formats that annotation, map and training tools read.

`source` yields the label map of every picture, of a row of results or of a folder that `patchbank segment` wrote;
`names` gives clusters the names of `names.yaml`; `regions` drops small pieces and cuts a map into regions; `polygons`
traces and simplifies borders, `rle` encodes masks, `geo` knows map coordinates. Each file of `formats` writes one
format, `labels` is the whole way. This is the last room: nothing of the package reads it but the commands.
"""
